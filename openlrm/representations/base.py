"""A reconstructed object, asked from numpy: what every representation can do."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from openlrm.cameras import DEFAULT_DISTANCE, Camera, orbit
from openlrm.errors import UserError
from openlrm.geometry.mesh import Mesh
from openlrm.geometry.mesh_io import MESH_FORMATS
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.representations.export import export_mesh, export_videos
from openlrm.utils.images import to_uint8
from openlrm.utils.progress import Bars, no_bar
from openlrm.utils.video import VIDEO_FORMATS

RENDERERS = ("auto", "host", "device")
SCENE_FORMAT = ".safetensors"


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


class Representation(ABC):
    """What a family makes of pictures of one object: it can be looked at, meshed, written and read.

    Subclasses are in folders of their own and in the table of `openlrm.representations`.
    """

    @abstractmethod
    def views(
        self, cameras: Camera, size: int, background: float = 1.0, batch: int = 1, skip_empty: bool = False
    ) -> Iterator[View]:
        """Render views one after the other.

        Args:
            cameras: (M,).
            size: side of a frame in pixels.
            background: grey level behind the object, in [0, 1].
            batch: views rendered in one call where that is of use.
            skip_empty: leave out what can hardly be seen where that is faster: for videos, not for figures.
        """

    @abstractmethod
    def field(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,), at least 0, and colour (P, 3) at points (P, 3) of the cube [-1, 1]^3.

        Raises:
            UserError: a representation that has none.
        """

    @abstractmethod
    def extract(self, settings: MeshSettings, bars: Bars = no_bar) -> Mesh:
        """The mesh as `settings` ask for it; see `mesh`."""

    @abstractmethod
    def write(self, path: str | os.PathLike) -> None:
        """Write the representation itself, in its own format, whole or not at all."""

    @classmethod
    @abstractmethod
    def read(cls, path: str | os.PathLike) -> Representation:
        """Read what `write` wrote.

        Raises:
            UserError: missing, damaged, or another kind of file.
        """

    @abstractmethod
    def non_finite(self) -> str | None:
        """Name what holds NaN or infinity; None when nothing does."""

    @abstractmethod
    def describe(self) -> str:
        """Kind and sizes, in a few words."""

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
        (view,) = self.views(Camera(orbit(azimuth, elevation, distance)[None]), size, background)
        if not np.isfinite(view.rgb).all():
            raise UserError("the field's colour is NaN or infinite", hint="are the weights damaged?")
        return Image.fromarray(to_uint8(view.rgb))

    def mesh(self, size: int = MeshSettings.size, threshold: float = MeshSettings.threshold, **options) -> Mesh:
        """The surface as a mesh, coloured as views show it: what `save` writes.

        Args:
            size: grid points a side.
            threshold: density of the surface.
            options: the other fields of `openlrm.geometry.mesh_options.MeshSettings`.

        Raises:
            UserError: no surface at the threshold (names one that would do), or an option that cannot be.
        """
        return self.extract(MeshSettings(size=size, threshold=threshold, **options))

    def save(self, path: str | os.PathLike, **options) -> Path:
        """Write the object in the form the suffix asks for, whole or not at all.

        Args:
            path: .mp4, .mov, .webm or .gif for a turntable video; .glb, .obj, .ply or .stl for a mesh; .safetensors for
                the representation itself, to be read by `openlrm.load_scene`.
            options: of videos `views` (160 frames), `size` (256 pixels), `fps` (40), see `export_videos`; of meshes
                the fields of `openlrm.geometry.mesh_options.MeshSettings`.

        Returns:
            The file.

        Raises:
            UserError: another suffix, no surface at the threshold, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in MESH_FORMATS:
            export_mesh(self, path, MeshSettings(**options))
        elif suffix in VIDEO_FORMATS and suffix != ".png":
            export_videos(self, {"rgb": path}, **{"views": 160, "size": 256, "fps": 40} | options)
        elif suffix == SCENE_FORMAT:
            self.write(path, **options)
        else:
            known = [*(s for s in VIDEO_FORMATS if s != ".png"), *MESH_FORMATS, SCENE_FORMAT]
            raise UserError(f"a scene has no form {path.suffix!r}", path, f"end the name in {', '.join(known)}")
        return path
