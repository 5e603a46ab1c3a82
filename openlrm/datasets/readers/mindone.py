"""Renders with `meta.pkl`: 000.png ... and a pickled [K, azimuths, elevations, distances, cam_poses].

The poses are world-to-camera (V, 3, 4). SyncDreamer's script, which writes such files, has OpenCV's axes. The pickle is
decoded without running it, see `openlrm.datasets.readers.inert_pickle`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openlrm.cameras import intrinsics_from_pixels
from openlrm.cameras.conventions import real_array
from openlrm.datasets.readers.capture import Capture, picture_size
from openlrm.datasets.readers.inert_pickle import read_numbers
from openlrm.datasets.readers.numbered import numbered_capture, numbered_pictures, poses_from_w2c
from openlrm.errors import UserError

NAME = "meta.pkl"
_PARTS = 5


def found(folder: Path) -> bool:
    """Whether a folder holds such renders."""
    return (folder / NAME).is_file()


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: a pickle that holds anything else, or does not fit the pictures.
    """
    file = folder / NAME
    try:
        content = read_numbers(file.read_bytes())
    except Exception as error:
        # A damaged or hostile one makes the decoder raise nearly anything.
        raise UserError(f"cannot use the pickle ({error})", file, "it holds numbers and arrays alone") from error
    if not isinstance(content, (list, tuple)) or len(content) != _PARTS:
        raise UserError("the pickle is no list of five", file, "expected [K, azimuths, elevations, distances, poses]")
    matrix = real_array(np.asarray(content[0]), "K", file)
    pictures = numbered_pictures(folder)
    if matrix.shape != (3, 3) or not pictures:
        what = "the object has no pictures" if not pictures else f"K has shape {matrix.shape}, not (3, 3)"
        raise UserError(what, file)
    width, height = picture_size(pictures[0])
    record = [[matrix[0, 0], matrix[1, 1]], [matrix[0, 2], matrix[1, 2]], [width, height]]
    lens = intrinsics_from_pixels(np.array(record), file)
    return numbered_capture(folder, poses_from_w2c(content[4], file, opencv=True), lens, file)
