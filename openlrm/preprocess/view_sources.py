"""Pictures without cameras: several files, a folder, a sheet or a video as single pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.preprocess.picture import Picture
from openlrm.utils.frames import VIDEO_SUFFIXES, read_video
from openlrm.utils.images import load_pixels
from openlrm.utils.picture_kinds import read_suffixes
from openlrm.utils.texts import natural_key
from openlrm.utils.tree import is_hidden

# Where the pictures of a folder lie.
_PICTURE_FOLDERS = (".", "rgba", "images")


@dataclass(frozen=True)
class Loose:
    """A picture that is yet to be read.

    Attributes:
        name: of the view.
        read: gives (H, W, 3) or (H, W, 4) float32 in [0, 1].
    """

    name: str
    read: Callable[[], np.ndarray]


def loose_pictures(path: Picture | Sequence[Picture], grid: tuple[int, int] | None) -> list[Loose]:
    """The single pictures that a list, a folder, a video or a sheet stands for.

    Args:
        path: one of these.
        grid: rows and columns of a sheet; None where a picture is no sheet.

    Raises:
        UserError: nothing there, a video that cannot be read, or a sheet of another shape.
    """
    if isinstance(path, (list, tuple)):
        return [_loose(one, index) for index, one in enumerate(path)]
    file = Path(path).expanduser() if isinstance(path, (str, os.PathLike)) else None
    if file is not None and file.is_dir():
        return [_loose(one, index) for index, one in enumerate(_files(file))]
    if file is not None and file.suffix.lower() in VIDEO_SUFFIXES:
        return [
            Loose(f"frame {index}", lambda frame=frame: load_pixels(frame))
            for index, frame in enumerate(read_video(file))
        ]
    return [_loose(path, 0)] if grid is None else _tiles(load_pixels(path), grid, name_of(path))


def _tiles(sheet: np.ndarray, grid: tuple[int, int], where: object) -> list[Loose]:
    """Cut a sheet into squares, row by row."""
    rows, columns = grid
    height, width = sheet.shape[:2]
    side = width // columns
    if side * columns != width or side * rows != height:
        what = f"a sheet of {width} x {height} pixels has no {rows} rows of {columns} squares"
        raise UserError(what, where, "say how it is made up: grid=[rows,columns]")
    parts = sheet.reshape(rows, side, columns, side, -1).swapaxes(1, 2).reshape(rows * columns, side, side, -1)
    return [Loose(f"tile {index}", lambda part=part: part) for index, part in enumerate(parts)]


def _loose(picture: Picture, index: int) -> Loose:
    is_file = isinstance(picture, (str, os.PathLike))
    return Loose(Path(picture).stem if is_file else f"picture {index}", lambda: load_pixels(picture))


def _files(folder: Path) -> list[Path]:
    """Pictures directly in a folder, or in that of its folders that has them, in the order people count in."""
    for name in _PICTURE_FOLDERS:
        below = folder / name
        entries = below.iterdir() if below.is_dir() else ()
        found = [one for one in entries if one.suffix.lower() in read_suffixes() and not is_hidden(one.name)]
        if found:
            return sorted(found, key=lambda one: natural_key(one.name))
    raise UserError("no picture in the folder", folder, f"put {', '.join(read_suffixes())} files in it")


def name_of(path: object) -> object:
    """What to call pictures in messages."""
    if isinstance(path, (list, tuple)):
        return f"{len(path)} pictures"
    return path if isinstance(path, (str, os.PathLike)) else "the picture"
