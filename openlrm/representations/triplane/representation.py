"""The triplane of one object with the renderer that reads it."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from mindspore import Tensor

from openlrm.cameras import Camera
from openlrm.errors import UserError
from openlrm.geometry.field_mesh import field_mesh
from openlrm.geometry.mesh import Mesh
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.ops import renders_on_host
from openlrm.representations.base import RENDERERS, Representation, View
from openlrm.representations.triplane.files import load_triplane, save_triplane
from openlrm.representations.triplane.host import HostRenderer
from openlrm.representations.triplane.synthesizer import TriplaneSynthesizer
from openlrm.representations.triplane.tiles import POINTS, TileRenderer
from openlrm.utils.progress import Bars, no_bar


class Triplane(Representation):
    """Triplane of one object with its renderer.

    Args:
        planes: (1, 3, C, H, W).
        synthesizer: the renderer it was made for.
        renderer: "host" for the compiled loops on whole frames, "device" for the synthesizer on the device MindSpore
            runs on, "auto" for what is faster here; the pictures are the same but for rounding.

    Raises:
        UserError: unknown renderer.
    """

    def __init__(self, planes: Tensor, synthesizer: TriplaneSynthesizer, renderer: str = "auto"):
        if renderer not in RENDERERS:
            raise UserError(f"renderer={renderer} is not known", hint=f"use one of {', '.join(RENDERERS)}")
        self.planes = planes
        self.synthesizer = synthesizer
        self._on_host = renderer == "host" or (renderer == "auto" and renders_on_host())

    def views(
        self, cameras: Camera, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[View]:
        """Render views one after the other; see `Representation.views`.

        On the host one view is rendered at a time, and `skip_empty` is twice as fast on fitted objects; opacity is
        then less by up to 0.0018.
        """
        for rgb, depth, mask in self.frames(cameras, size, background, batch, skip_empty):
            yield View(np.clip(rgb, 0, 1), depth, mask)

    def frames(
        self, cameras: Camera, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """`views` whose colours are not clipped, as small changes of the planes are measured: tuples of arrays."""
        if not self._on_host:
            return self._renderer.frames(cameras, size, background, batch)
        renderer = self._quick_renderer if skip_empty else self._renderer
        return (renderer.render(cameras[i], size, background) for i in range(len(cameras)))

    def field(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,) and colour (P, 3) at points (P, 3); see `HostRenderer.evaluate`."""
        return self._renderer.evaluate(points)

    def extract(self, settings: MeshSettings, bars: Bars = no_bar) -> Mesh:
        """Marching cubes on the density; see `openlrm.geometry.field_mesh`."""
        return field_mesh(self._renderer.density, self.field, settings, POINTS, bars)

    def write(self, path: str | os.PathLike) -> None:
        """Write planes and decoder; see `save_triplane`."""
        save_triplane(path, self.planes, self.synthesizer)

    @classmethod
    def read(cls, path: str | os.PathLike, renderer: str = "auto") -> Triplane:
        """Read what `write` wrote; see `load_triplane`."""
        return cls(*load_triplane(path), renderer)

    def non_finite(self) -> str | None:
        """Name the planes when they hold NaN or infinity."""
        return None if np.isfinite(self.planes.asnumpy()).all() else "the triplane"

    def describe(self) -> str:
        """Sizes of the planes."""
        return f"triplane {' x '.join(map(str, self.planes.shape[1:]))}"

    @cached_property
    def _renderer(self) -> HostRenderer | TileRenderer:
        if not self._on_host:
            return TileRenderer(self.planes, self.synthesizer)
        decoder = {name: value.asnumpy() for name, value in self.synthesizer.decoder.parameters_and_names()}
        return HostRenderer(self.planes.asnumpy()[0], decoder, 2 * self.synthesizer.samples)

    @cached_property
    def _quick_renderer(self) -> HostRenderer:
        quick = copy.copy(self._renderer)
        quick.skip_empty()
        return quick
