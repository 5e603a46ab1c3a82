"""`transforms.json` as nerfstudio, instant-ngp and the NeRF renders have it.

    {"camera_angle_x": radians, or "fl_x", "fl_y", "cx", "cy", "w", "h" in pixels, "k1", "k2", "k3", "p1", "p2",
     "camera_model": "OPENCV",
     "frames": [{"file_path": "images/0001.jpg", "mask_path": ..., "transform_matrix": [[4 x 4]]}, ...]}

Poses are camera-to-world in OpenGL's axes. A frame may have lens keys of its own. `file_path` may go without
its suffix.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.cameras import intrinsics_from_pixels, validate_pose
from openlrm.cameras.distortion import Distortion
from openlrm.datasets.readers.capture import Capture, View, existing_file, picture_size
from openlrm.errors import UserError
from openlrm.utils.logging import get_logger
from openlrm.utils.picture_kinds import read_suffixes
from openlrm.utils.texts import decode

logger = get_logger(__name__)

NAMES = ("transforms.json", "transforms_train.json")
_PINHOLES = ("PERSPECTIVE", "PINHOLE", "SIMPLE_PINHOLE")
_OPENCV = ("FULL_OPENCV", "OPENCV", "RADIAL", "SIMPLE_RADIAL")
_FISHEYES = ("OPENCV_FISHEYE",)
_MAX_BYTES = 1 << 28
# Width over height of a picture may differ from the file's by rounding of a smaller copy.
_ASPECT = 0.02


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera of the file.

    Attributes:
        where: file and frame, for messages.
        c2w: (3, 4) float32, OpenGL axes.
        keys: its own keys over those of the file.
    """

    where: str
    c2w: np.ndarray
    keys: dict[str, Any]

    def lens(self, width: int, height: int) -> tuple[np.ndarray, Distortion | None]:
        """Normalised intrinsics (4,) and distortion, for a picture of this size.

        Raises:
            UserError: no focal length, numbers that make no lens, a model that is not known, or a picture of another
                shape than the file says.
        """
        stated = self._number("w", width), self._number("h", height)
        if not (stated[0] > 0 and stated[1] > 0) or abs(stated[0] * height / (stated[1] * width) - 1) > _ASPECT:
            what = f"the picture is {width} x {height}, the camera file says {stated[0]:g} x {stated[1]:g}"
            raise UserError(what, self.where, "give the pictures that the cameras were computed for")
        width, height = stated
        focal = self._focal("x", width)
        focal_y = self._focal("y", height)
        if focal is None and focal_y is None:
            raise UserError("no focal length", self.where, "it has fl_x in pixels, or camera_angle_x in radians")
        focal = focal_y if focal is None else focal
        focal_y = focal if focal_y is None else focal_y
        center = self._number("cx", width / 2), self._number("cy", height / 2)
        record = [[focal, focal_y], center, [width, height]]
        return intrinsics_from_pixels(np.array(record, np.float64), self.where), self._distortion()

    def text(self, key: str) -> str | None:
        """A name among the keys.

        Raises:
            UserError: it is no text.
        """
        value = self.keys.get(key)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{key} is no text but {value!r}", self.where)
        return value

    def _focal(self, axis: str, side: float) -> float | None:
        if f"fl_{axis}" in self.keys:
            return self._number(f"fl_{axis}", 0)
        if f"camera_angle_{axis}" not in self.keys:
            return None
        angle = self._number(f"camera_angle_{axis}", 0)
        if not 0 < angle < np.pi:
            raise UserError(f"camera_angle_{axis}={angle:g} is not between 0 and pi radians", self.where)
        return 0.5 * side / np.tan(angle / 2)

    def _distortion(self) -> Distortion | None:
        model = self.keys.get("camera_model", "OPENCV")
        if model in _PINHOLES:
            return None
        if model not in (*_OPENCV, *_FISHEYES) or self.keys.get("is_fisheye") not in (None, False, 0):
            known = ", ".join((*_PINHOLES, *_OPENCV, *_FISHEYES))
            raise UserError(
                f"camera_model {model!r} is not known", self.where, f"undistort the pictures, or use {known}"
            )
        fisheye = model in _FISHEYES
        radial = tuple(self._number(f"k{i}", 0.0) for i in range(1, 5))
        if radial[3] and not fisheye:
            raise UserError("k4 of a lens that is no fisheye is not read", self.where, "undistort the pictures first")
        bent = Distortion(radial, (self._number("p1", 0.0), self._number("p2", 0.0)), fisheye)
        return None if bent.nothing else bent

    def _number(self, key: str, default: float) -> float:
        value = self.keys.get(key, default)
        # A whole number may have more digits than a float takes.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
            raise UserError(f"{key} is no finite number but {value!r}", self.where)
        return float(value)


def found(path: Path) -> bool:
    """Whether a folder holds such a file."""
    return any((path / name).is_file() for name in NAMES)


def read(path: Path, pictures: Path | None = None) -> Capture:
    """Read the cameras and the names of the pictures.

    Args:
        path: the file, or the folder it is in.
        pictures: folder that `file_path` counts from; that of the file without it.

    Raises:
        UserError: no such file, contents that are no cameras, or pictures that are not there.
    """
    file = path if path.is_file() else next((path / name for name in NAMES if (path / name).is_file()), path / NAMES[0])
    frames = read_frames(file)
    views, taken = [], set()
    for frame in frames:
        name = frame.text("file_path")
        if name is None:
            raise UserError("no file_path", frame.where, "every frame names its picture")
        picture = existing_file(pictures or file.parent, name, frame.where, ("", ".png", ".jpg", ".jpeg"))
        if picture in taken:
            raise UserError(f"the picture {name!r} has two cameras", frame.where)
        taken.add(picture)
        mask = frame.text("mask_path")
        lens, distortion = frame.lens(*picture_size(picture))
        masked = None if mask is None else existing_file(file.parent, mask, frame.where)
        views.append(View(picture.stem, picture, frame.c2w, lens, masked, distortion))
    _note_unlisted(taken | {view.mask for view in views})
    return Capture(file.resolve().parent.name, tuple(views), file)


def read_frames(file: Path) -> list[Frame]:
    """Read the cameras alone, in the order of the file.

    Raises:
        UserError: no such file, or contents that are no cameras.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise UserError("too large for a camera file", file)
        content = json.loads(decode(file.read_bytes()))
    except FileNotFoundError:
        raise UserError("no such camera file", file, f"expected {NAMES[0]}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the camera file ({error})", file) from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise UserError("no list of frames", file, 'expected {"frames": [{"transform_matrix": ...}, ...]}')
    common = {key: value for key, value in content.items() if key != "frames"}
    return [_frame(f"{file} (frame {index})", common | frame) for index, frame in enumerate(frames)]


def _frame(where: str, keys: dict[str, Any]) -> Frame:
    if "transform_matrix" not in keys:
        raise UserError("no transform_matrix", where, "every frame has a 4x4 camera-to-world matrix")
    try:
        matrix = np.array(keys["transform_matrix"], np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError("transform_matrix is no matrix of numbers", where) from error
    return Frame(where, validate_pose(matrix, where), keys)


def _note_unlisted(listed: set[Path | None]) -> None:
    """Say how many pictures beside the listed ones have no camera."""
    folders = {path.parent for path in listed if path is not None}
    beside = {path for folder in folders for path in folder.iterdir() if path.suffix.lower() in read_suffixes()}
    if others := sorted(beside - listed):
        logger.info("%s and %d more pictures have no camera and are left out", others[0], len(others) - 1)
