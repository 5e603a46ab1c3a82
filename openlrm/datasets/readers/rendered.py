"""An object in this project's own layout: rgba/, pose/, intrinsics.npy, see `openlrm.datasets.objaverse`."""

from __future__ import annotations

from pathlib import Path

from openlrm.datasets.objaverse import read_object
from openlrm.datasets.readers.capture import Capture, View


def found(folder: Path) -> bool:
    """Whether a folder is such an object."""
    return (folder / "rgba").is_dir() and (folder / "pose").is_dir()


def read(folder: Path) -> Capture:
    """Read the cameras of an object.

    Raises:
        UserError: what `openlrm.datasets.objaverse.read_object` and its poses refuse.
    """
    folder = folder.resolve()
    source = read_object(folder.parent, folder.name)
    views = [
        View(name, source.folder / "rgba" / f"{name}.png", source.read_pose(index), source.intrinsics)
        for index, name in enumerate(source.names)
    ]
    return Capture(source.uid, tuple(views), source.folder)
