"""What a mesh file shall be like: the options of every runner that writes one."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.geometry.mesh_io import TEXTURED_FORMATS
from openlrm.geometry.surface_color import DEPTH

TEXTURES = ("none", "atlas")
TEXTURE_FACES = 40_000
"""Faces that are unwrapped where nobody says. The time grows faster than their number: 2.5 s for 20 000 faces of a
fitted object, 8 s for 40 000, 27 s for 80 000 (two busy cores)."""


@dataclass(frozen=True)
class MeshSettings:
    """What a mesh shall be like.

    Attributes:
        size: grid points a side.
        threshold: density at the surface.
        smooth: rounds of smoothing (Taubin's), before decimation.
        faces: to reduce the mesh to; without it all of them, or `TEXTURE_FACES` with a texture.
        texture: "none" for a colour at each vertex, "atlas" for a texture.
        texture_size: side of the texture in pixels.
        metres: longest side of the mesh, about the origin; as it is in the field without it.
        unlit: files say that viewers shall show the colours as they are; otherwise they light them.
        color_depth: how deep under the surface colours are added up, see `openlrm.geometry.surface_color`; 0 for
            those at the surface.
        colored: whether it gets colours at all.
    """

    size: int = 384
    threshold: float = 3.0
    smooth: int = 0
    faces: int | None = None
    texture: str = "none"
    texture_size: int = 1024
    metres: float | None = None
    unlit: bool = True
    color_depth: float = DEPTH
    colored: bool = True

    def check(self, path: str | os.PathLike | None = None) -> None:
        """Refuse, before any work, a mesh that could not be made or written.

        Args:
            path: of the file it shall go to, if any.

        Raises:
            UserError: unknown texture, a format that holds none, or a package that is missing.
        """
        if self.texture not in TEXTURES:
            raise UserError(f"mesh_texture={self.texture} is not known", hint=f"use one of {', '.join(TEXTURES)}")
        textured = self.texture == "atlas"
        if textured and path is not None and (suffix := Path(path).suffix.lower()) not in TEXTURED_FORMATS:
            raise UserError(f"mesh_texture=atlas: {suffix} holds no texture", hint="use mesh_format=glb or obj")
        needed = ["fast_simplification", "xatlas"] if textured else ["fast_simplification"] if self.faces else []
        for name in needed:
            if importlib.util.find_spec(name) is None:
                raise UserError(f"the package {name} is missing", hint='pip install "openlrm-mindspore[texture]"')


_DEFAULT = MeshSettings()


@dataclass
class MeshOptions:
    """The same as options; a runner's config inherits them."""

    mesh_size: int = option(_DEFAULT.size, "grid points along a side of the mesh's grid", minimum=8, maximum=1024)
    mesh_thres: float = option(_DEFAULT.threshold, "density at the surface", minimum=1e-6, maximum=1e6)
    mesh_smooth: int = option(
        _DEFAULT.smooth, "rounds of smoothing (Taubin's, which keeps the volume)", minimum=0, maximum=1000
    )
    mesh_faces: Optional[int] = option(  # noqa: UP045
        None, f"faces to reduce the mesh to; without it all, or {TEXTURE_FACES} with a texture", minimum=4
    )
    mesh_texture: str = option(
        _DEFAULT.texture, "none: a colour at each vertex; atlas: unwrapped, with a texture (glb, obj)", choices=TEXTURES
    )
    texture_size: int = option(_DEFAULT.texture_size, "side in pixels of the texture", minimum=64, maximum=4096)
    mesh_metres: Optional[float] = option(  # noqa: UP045
        None,
        "longest side of the mesh in metres; without it the field's cube is 2 wide",
        minimum=1e-6,
        maximum=1e6,
    )
    mesh_unlit: bool = option(
        True, "glb, obj: viewers show the colours as they are, light of the picture included; false: they add light"
    )

    mesh_color_depth: float = option(
        _DEFAULT.color_depth,
        "how deep under the surface colours are added up, as views do; 0: those at it",
        minimum=0,
        maximum=1,
    )

    def mesh_settings(self) -> MeshSettings:
        """What these options ask for."""
        return MeshSettings(
            size=self.mesh_size,
            threshold=self.mesh_thres,
            smooth=self.mesh_smooth,
            faces=self.mesh_faces,
            texture=self.mesh_texture,
            texture_size=self.texture_size,
            metres=self.mesh_metres,
            unlit=self.mesh_unlit,
            color_depth=self.mesh_color_depth,
        )
