"""3D Gaussians as what a family makes of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera
from openlrm.errors import UserError
from openlrm.geometry.mesh import Mesh
from openlrm.geometry.mesh_io import MESH_FORMATS
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.representations.base import Representation, View
from openlrm.representations.gaussians.files import GAUSSIAN_FORMATS, read_gaussians, save_gaussians
from openlrm.representations.gaussians.record import Gaussians
from openlrm.representations.gaussians.viewer import save_viewer
from openlrm.utils.progress import Bars, no_bar

PAGE = ".html"
_NO_MESH = f"save Gaussians as {', '.join(GAUSSIAN_FORMATS)}, as a page ({PAGE}) or as a video"


class GaussianScene(Representation):
    """Gaussians of one object, in the cube [-1, 1]^3.

    Args:
        gaussians: at least one.
    """

    def __init__(self, gaussians: Gaussians):
        self.gaussians = gaussians

    def views(
        self, cameras: Camera, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[View]:
        """Render views one after the other by the compiled loops; see `Representation.views`."""
        for i in range(len(cameras)):
            rgb, depth, alpha = self.gaussians.render(cameras[i], (size, size), np.full(3, background))
            # The rasteriser's depths are weighted sums along the camera's axis.
            distance = depth[0] / np.maximum(alpha[0], 1e-6) * _ray_lengths(cameras[i], size)
            yield View(rgb.transpose(1, 2, 0), distance, alpha[0])

    def field(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gaussians have no field.

        Raises:
            UserError: always.
        """
        raise UserError("Gaussians have no density field", hint=_NO_MESH)

    def extract(self, settings: MeshSettings, bars: Bars = no_bar) -> Mesh:
        """Gaussians have no mesh.

        Raises:
            UserError: always.
        """
        raise UserError("Gaussians have no mesh", hint=_NO_MESH)

    def save(self, path: str | os.PathLike, **options) -> Path:
        """Write the object in the form the suffix asks for, whole or not at all.

        Args:
            path: .ply, .splat or .glb for Gaussians; .html for a page that shows them; .mp4, .mov, .webm or .gif for a
                turntable video.
            options: of Gaussians see `save_gaussians`, and `scale` (1), which makes the file's units 1 / scale of the
                scene's; of the page `title`; of videos see `Representation.save`.

        Returns:
            The file.

        Raises:
            UserError: another suffix, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in GAUSSIAN_FORMATS:
            scale = options.pop("scale", 1.0)
            save_gaussians(path, self.gaussians if scale == 1 else self.gaussians.scaled(scale), **options)
        elif suffix == PAGE:
            save_viewer(path, self.gaussians, Camera.canonical(), **options)
        elif suffix in MESH_FORMATS:
            raise UserError(f"Gaussians have no mesh to write as {suffix}", path, _NO_MESH)
        else:
            super().save(path, **options)
        return path

    def write(self, path: str | os.PathLike) -> None:
        """Write the Gaussians as the suffix asks for, see `save_gaussians`."""
        save_gaussians(path, self.gaussians)

    @classmethod
    def read(cls, path: str | os.PathLike) -> GaussianScene:
        """Read what `write` or another program wrote, see `read_gaussians`.

        Raises:
            UserError: missing, damaged, or without Gaussians.
        """
        gaussians = read_gaussians(path)
        if not len(gaussians):
            raise UserError("a file without Gaussians", path)
        return cls(gaussians)

    def non_finite(self) -> str | None:
        """Name the arrays that hold NaN or infinity."""
        bad = [name for name, array in vars(self.gaussians).items() if not np.isfinite(array).all()]
        return f"{' and '.join(bad)} of the Gaussians" if bad else None

    def describe(self) -> str:
        """How many."""
        return f"{len(self.gaussians):,} Gaussians"


def _ray_lengths(camera: Camera, size: int) -> np.ndarray:
    """(size, size): distance along the ray of a pixel's middle to what lies one unit along the axis."""
    fx, fy, cx, cy = camera.intrinsics.astype(np.float64)
    middle = (np.arange(size) + 0.5) / size
    x, y = (middle - cx) / fx, (middle - cy) / fy
    return np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2).astype(np.float32)
