"""What a mesh file shall be like: the options of every runner that writes one."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.inference.surface_color import DEPTH
from openlrm.utils.mesh_io import TEXTURED_FORMATS

TEXTURES = ("none", "atlas")
TEXTURE_FACES = 40_000
"""Faces that are unwrapped where nobody says. The time grows faster than their number: 2.5 s for 20 000 faces of a
fitted object, 8 s for 40 000, 27 s for 80 000 (two busy cores)."""


@dataclass
class MeshOptions:
    """Options of a mesh; a runner's config inherits them."""

    mesh_size: int = option(384, "grid points along a side of the mesh's grid", minimum=8, maximum=1024)
    mesh_thres: float = option(3.0, "density at the surface", minimum=1e-6, maximum=1e6)
    mesh_smooth: int = option(0, "rounds of smoothing (Taubin's, which keeps the volume)", minimum=0, maximum=1000)
    mesh_faces: Optional[int] = option(  # noqa: UP045
        None, f"faces to reduce the mesh to; without it all, or {TEXTURE_FACES} with a texture", minimum=4
    )
    mesh_texture: str = option(
        "none", "none: a colour at each vertex; atlas: unwrapped, with a texture (glb, obj)", choices=TEXTURES
    )
    texture_size: int = option(1024, "side in pixels of the texture", minimum=64, maximum=4096)
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
        DEPTH, "how deep under the surface colours are added up, as views do; 0: those at it", minimum=0, maximum=1
    )

    def mesh_arguments(self) -> dict:
        """Keyword arguments of `openlrm.inference.export.export_mesh`."""
        return {
            "size": self.mesh_size,
            "threshold": self.mesh_thres,
            "smooth": self.mesh_smooth,
            "faces": self.mesh_faces,
            "texture": self.mesh_texture,
            "texture_size": self.texture_size,
            "metres": self.mesh_metres,
            "unlit": self.mesh_unlit,
            "color_depth": self.mesh_color_depth,
        }


def check_mesh_request(path: str | os.PathLike, faces: int | None = None, texture: str = "none") -> None:
    """Refuse, before any work, a mesh that could not be written.

    Args:
        path: of the mesh file.
        faces: to reduce the mesh to.
        texture: one of `TEXTURES`.

    Raises:
        UserError: unknown texture, a format that holds none, or a package that is missing.
    """
    if texture not in TEXTURES:
        raise UserError(f"mesh_texture={texture} is not known", hint=f"use one of {', '.join(TEXTURES)}")
    suffix = Path(path).suffix.lower()
    if texture == "atlas" and suffix not in TEXTURED_FORMATS:
        raise UserError(f"mesh_texture=atlas: {suffix} holds no texture", hint="use mesh_format=glb or obj")
    needed = ["fast_simplification", "xatlas"] if texture == "atlas" else ["fast_simplification"] if faces else []
    for name in needed:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"the package {name} is missing", hint='pip install "openlrm-mindspore[texture]"')
