"""A reconstructed object: its triplane and the renderer that reads it, asked from numpy."""

import copy
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mindspore import Tensor
from PIL import Image

from openlrm.cameras import DEFAULT_DISTANCE, build_render_camera, orbit
from openlrm.errors import UserError
from openlrm.inference.mesh import Mesh, extract_mesh
from openlrm.inference.tiles import POINTS, TileRenderer
from openlrm.models.rendering import TriplaneSynthesizer
from openlrm.models.rendering.host import HostRenderer
from openlrm.ops import prefers_host_rendering
from openlrm.utils.images import to_uint8
from openlrm.utils.mesh_io import MESH_FORMATS
from openlrm.utils.video import VIDEO_FORMATS

RENDERERS = ("auto", "host", "device")


class View(NamedTuple):
    """A rendered picture.

    Attributes:
        rgb: (H, W, 3) float32 in [0, 1].
        depth: (H, W) float32, distance from the camera centre in world units.
        mask: (H, W) float32 in [0, 1], opacity.
    """

    rgb: np.ndarray
    depth: np.ndarray
    mask: np.ndarray


class Scene:
    """Triplane of one object with its renderer.

    Args:
        planes: (1, 3, C, H, W).
        synthesizer: the renderer it was made for.
        renderer: "host" for the compiled loops on the CPU, "device" for the synthesizer itself, "auto" for what is
            faster here; the pictures are the same but for rounding.

    Raises:
        UserError: unknown renderer.
    """

    def __init__(self, planes: Tensor, synthesizer: TriplaneSynthesizer, renderer: str = "auto"):
        if renderer not in RENDERERS:
            raise UserError(f"renderer={renderer} is not known", hint=f"use one of {', '.join(RENDERERS)}")
        self.planes = planes
        self.synthesizer = synthesizer
        synthesizer.set_train(False)
        self._on_host = renderer == "host" or (renderer == "auto" and prefers_host_rendering())

    def views(
        self, cameras: np.ndarray, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[View]:
        """Render views one after the other.

        Args:
            cameras: (M, 25), see `openlrm.cameras.build_render_camera`.
            size: side of a frame in pixels.
            background: grey level behind the object, in [0, 1].
            batch: views rendered in one call on the device; the host renders one at a time.
            skip_empty: leave out the samples in empty space, on the host: twice as fast on fitted objects, opacity
                less by up to 0.0018. For videos, not for figures.
        """
        if self._on_host:
            renderer = self._quick_renderer if skip_empty else self._renderer
            frames = (renderer.render(camera, size, background) for camera in cameras)
        else:
            frames = self._renderer.frames(cameras, size, background, batch)
        for rgb, depth, mask in frames:
            yield View(np.clip(rgb, 0, 1), depth, mask)

    def render(
        self,
        azimuth: float = 0.0,
        elevation: float = 0.0,
        distance: float = DEFAULT_DISTANCE,
        size: int = 256,
        background: float = 1.0,
    ) -> Image.Image:
        """Picture from a camera on a sphere around the object.

        Args:
            azimuth: degrees around the object, counter-clockwise seen from above; 0 is where the input was taken.
            elevation: degrees above the horizon, -90 to 90.
            distance: of the camera from the centre.
            size: side in pixels.
            background: grey level behind the object, in [0, 1].

        Returns:
            RGB picture. For depth and opacity, or cameras of your own, see `views`.

        Raises:
            UserError: a camera that cannot be, or a field that is not finite.
        """
        camera = build_render_camera(orbit(azimuth, elevation, distance))
        (view,) = self.views(camera[None], size, background)
        if not np.isfinite(view.rgb).all():
            raise UserError("the field's colour is NaN or infinite", hint="are the weights damaged?")
        return Image.fromarray(to_uint8(view.rgb))

    def save(self, path: str | os.PathLike, **options) -> Path:
        """Write the scene in the form the suffix asks for, whole or not at all.

        Args:
            path: .mp4, .mov, .webm or .gif for a turntable video; .glb, .obj, .ply or .stl for a mesh; .safetensors for
                the scene itself, to be read by `openlrm.load_scene`.
            options: of videos `views` (160 frames), `size` (256 pixels), `fps` (40), see `export_videos`; of meshes
                `size` (384 grid points a side), `threshold` (3.0), see `export_mesh`.

        Returns:
            The file.

        Raises:
            UserError: another suffix, no surface at the threshold, or a place that cannot be written.
        """
        from openlrm.checkpoint import save_triplane
        from openlrm.inference.export import export_mesh, export_videos

        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in MESH_FORMATS:
            export_mesh(self, path, **{"size": 384, "threshold": 3.0} | options)
        elif suffix in VIDEO_FORMATS and suffix != ".png":
            export_videos(self, {"rgb": path}, **{"views": 160, "size": 256, "fps": 40} | options)
        elif suffix == ".safetensors":
            save_triplane(path, self.planes, self.synthesizer, **options)
        else:
            known = [*(s for s in VIDEO_FORMATS if s != ".png"), *MESH_FORMATS, ".safetensors"]
            raise UserError(f"a scene has no form {path.suffix!r}", path, f"end the name in {', '.join(known)}")
        return path

    def field(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,) and colour (P, 3) at points (P, 3); see `HostRenderer.evaluate`."""
        return self._renderer.evaluate(points)

    def mesh(self, size: int = 384, threshold: float = 3.0, progress=None) -> Mesh:
        """Marching cubes on the density; see `extract_mesh`."""
        return extract_mesh(self._renderer.density, self._color, size, threshold, chunk=POINTS, progress=progress)

    def _color(self, points: np.ndarray) -> np.ndarray:
        return self._renderer.evaluate(points)[1]

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


def normalise_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth as a grey picture: 1 at `near`, 0 at `far`, clipped; any shape."""
    return np.clip((far - depth) / (far - near), 0, 1)
