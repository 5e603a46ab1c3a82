"""MVImgNet: COLMAP's `images` and `sparse/0` in CLASS/OBJECT, masks in a tree `masks/CLASS/OBJECT` above."""

from __future__ import annotations

from pathlib import Path

from openlrm.datasets.readers import colmap
from openlrm.datasets.readers.capture import Capture


def found(folder: Path) -> bool:
    """Whether a folder holds such an object."""
    return colmap.found(folder) and _masks(folder) is not None


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: see `openlrm.datasets.readers.colmap.read`.
    """
    return colmap.read(folder, _masks(folder))


def _masks(folder: Path) -> Path | None:
    folder = folder.resolve()
    below = Path(folder.parent.name) / folder.name
    options = (folder.parent.parent / "masks" / below, folder.parent.parent / "mask" / below)
    return next((path for path in options if path.is_dir()), None)
