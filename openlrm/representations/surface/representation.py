"""The surface of one object's triplane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import NoReturn

import numpy as np
from mindspore import Tensor

from openlrm.cameras import Camera
from openlrm.errors import UserError
from openlrm.geometry.field_mesh import finish_mesh
from openlrm.geometry.flexicubes_mesh import FlexiMesh
from openlrm.geometry.mesh import Mesh
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.geometry.surface import SurfaceViews, render_surface
from openlrm.ops import inference_state
from openlrm.representations.base import Representation, View
from openlrm.representations.surface.files import load_surface, save_surface
from openlrm.representations.surface.synthesizer import SurfaceSynthesizer
from openlrm.utils.progress import Bars, no_bar

_CHUNK = 1 << 18
# Half the cube's diagonal: what nothing is seen of is said to be this far behind the centre.
_BEHIND = 3**0.5


class TriplaneSurface(Representation):
    """Triplane of one object with the heads that make a surface of it.

    The mesh is made once, on the grid that the heads were trained for: `size` and `threshold` of `MeshSettings` have
    no say.

    Args:
        planes: (1, 3, C, H, W).
        synthesizer: with the heads.
        guard: show an object without a surface as a small one instead of an error: for validation in training.
    """

    def __init__(self, planes: Tensor, synthesizer: SurfaceSynthesizer, guard: bool = False):
        self.planes, self.synthesizer, self.guard = planes, synthesizer, guard

    @cached_property
    def flexi(self) -> FlexiMesh:
        """The mesh as FlexiCubes gives it.

        Raises:
            UserError: no surface, unless guarded.
        """
        with inference_state(self.synthesizer):
            return self.synthesizer.geometry(self.planes, self.guard).mesh()

    def look(self, cameras: Camera, size: int) -> SurfaceViews:
        """Mask, depth along the axis, normals and places of what cameras (M,) see."""
        mesh = self.flexi
        return render_surface(mesh.vertices, mesh.faces, cameras.w2c(opencv=False), cameras.intrinsics, (size, size))

    def views(
        self, cameras: Camera, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[View]:
        """Rasterise views one after the other; see `Representation.views`.

        Colours end at the edge of a pixel; the mask is antialiased. `batch` and `skip_empty` change nothing.
        """
        for i in range(len(cameras)):
            seen, centre = self.look(cameras[i : i + 1], size), cameras.centers[i]
            covered = seen.visible[0].face >= 0
            places = seen.position.asnumpy()[0][covered]
            rgb = np.full((size, size, 3), background, np.float32)
            rgb[covered] = self.color(places)
            depth = np.full((size, size), np.linalg.norm(centre) + _BEHIND, np.float32)
            depth[covered] = np.linalg.norm(places - centre, axis=1)
            yield View(rgb, depth, seen.mask.asnumpy()[0, 0])

    def color(self, points: np.ndarray) -> np.ndarray:
        """Colour (P, 3) in [0, 1] at points (P, 3)."""
        logits = self.synthesizer.ask(self.planes, "net_rgb", points)
        return np.clip(1.002 / (1 + np.exp(-logits)) - 0.001, 0, 1).astype(np.float32)

    def field(self, points: np.ndarray) -> NoReturn:
        """Refuse: there is a surface, and no density.

        Raises:
            UserError: always.
        """
        raise UserError("a surface has no density", hint="use mesh() or views()")

    def extract(self, settings: MeshSettings, bars: Bars = no_bar) -> Mesh:
        """FlexiCubes' mesh, finished as the settings ask; their `size`, `threshold` and `color_depth` have no say."""
        settings.check()
        mesh = Mesh(self.flexi.vertices.asnumpy(), self.flexi.faces)
        return finish_mesh(mesh, lambda rays: self.color(rays[:, :3]), settings, _CHUNK, bars)

    def write(self, path: str | os.PathLike) -> None:
        """Write planes and heads; see `save_surface`."""
        save_surface(path, self.planes, self.synthesizer)

    @classmethod
    def read(cls, path: str | os.PathLike) -> TriplaneSurface:
        """Read what `write` wrote; see `load_surface`."""
        return cls(*load_surface(path))

    def non_finite(self) -> str | None:
        """Name the planes when they hold NaN or infinity."""
        return None if np.isfinite(self.planes.asnumpy()).all() else "the triplane"

    def describe(self) -> str:
        """Sizes of planes and grid."""
        sizes = " x ".join(map(str, self.planes.shape[1:]))
        return f"surface of a triplane {sizes} on a grid of {self.synthesizer.grid_res}"
