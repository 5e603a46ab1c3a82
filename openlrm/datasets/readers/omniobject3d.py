"""OmniObject3D's renders: `render/transforms.json` of the NeRF kind, its pictures in `render/images`."""

from __future__ import annotations

from pathlib import Path

from openlrm.datasets.readers import transforms
from openlrm.datasets.readers.capture import Capture


def found(folder: Path) -> bool:
    """Whether a folder holds such renders."""
    below = folder / "render"
    return (below / "transforms.json").is_file() and (below / "images").is_dir()


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: see `openlrm.datasets.readers.transforms.read`.
    """
    capture = transforms.read(folder / "render", pictures=folder / "render" / "images")
    return Capture(folder.resolve().name, capture.views, capture.where)
