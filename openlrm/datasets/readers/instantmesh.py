"""Renders with `cameras.npz`: 000.png ... and `cam_poses` (V, 3, 4), world-to-camera, OpenGL axes; field of view 50."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from openlrm.datasets.readers.capture import Capture
from openlrm.datasets.readers.numbered import numbered_capture, poses_from_w2c
from openlrm.errors import UserError

NAME = "cameras.npz"
_FOCAL = 0.5 / np.tan(np.deg2rad(50) / 2)
# Cameras of thousands of views; an archive may claim to hold anything.
_MAX_BYTES = 1 << 24


def found(folder: Path) -> bool:
    """Whether a folder holds such renders."""
    return (folder / NAME).is_file()


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: a file that is no such archive, or does not fit the pictures.
    """
    file = folder / NAME
    return numbered_capture(
        folder, poses_from_w2c(_read_array(file, "cam_poses"), file, opencv=False), (_FOCAL, _FOCAL, 0.5, 0.5), file
    )


def _read_array(file: Path, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry.file_size for entry in archive.infolist()}
            if f"{name}.npy" not in entries:
                there = ", ".join(sorted(entries)[:5]) or "nothing"
                raise UserError(f"no {name} in the archive but {there}", file, "is it of another version?")
            with archive.open(f"{name}.npy") as stream:
                # Not by what the archive claims: that much is unpacked and no more.
                data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UserError(f"{name} is too large for cameras", file)
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:
        # Damaged archives and headers raise nearly anything.
        raise UserError(f"not a usable .npz file ({error})", file, "write it again with numpy.savez") from error
