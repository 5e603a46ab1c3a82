"""Renders of Zero123: 000.png and 000.npy, world-to-camera (3, 4) in Blender's axes, a lens of 35 mm on 32 mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openlrm.datasets.objaverse import load_array
from openlrm.datasets.readers.capture import Capture
from openlrm.datasets.readers.numbered import numbered_capture, numbered_pictures, poses_from_w2c
from openlrm.errors import UserError

_FOCAL = 35 / 32


def found(folder: Path) -> bool:
    """Whether a folder holds such renders."""
    return any(one.with_suffix(".npy").is_file() for one in numbered_pictures(folder)[:1])


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: a picture without a camera, or a camera that is none.
    """
    poses: dict[int, np.ndarray] = {}
    for picture in numbered_pictures(folder):
        file = picture.with_suffix(".npy")
        if not file.is_file():
            raise UserError(f"no camera for {picture.name}", folder, f"expected {file.name} beside it")
        poses[int(picture.stem)] = poses_from_w2c(load_array(file)[None], file, opencv=False)[0]
    listed = [poses.get(index, np.zeros((3, 4))) for index in range(max(poses) + 1)]
    return numbered_capture(folder, listed, (_FOCAL, _FOCAL, 0.5, 0.5), folder)
