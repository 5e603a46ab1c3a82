"""GObjaverse: folders 00000 ... 00039 with 00000.png and 00000.json.

The json has `x`, `y`, `z` and `origin`, the columns of an OpenCV camera-to-world, and `x_fov`, `y_fov` in radians.
Depth and normals (`_nd.exr`) are not read here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera, validate_pose
from openlrm.cameras.conventions import real_array
from openlrm.datasets.readers.capture import Capture, View
from openlrm.errors import UserError
from openlrm.utils.texts import decode

_VIEW = re.compile(r"\d{5}")


def found(folder: Path) -> bool:
    """Whether a folder holds such views."""
    return any((one / f"{one.name}.json").is_file() for one in _folders(folder)[:1])


def read(folder: Path) -> Capture:
    """Read the cameras and the names of the pictures.

    Raises:
        UserError: a view without its picture or its camera, or a camera that is none.
    """
    views = []
    for below in _folders(folder):
        picture = below / f"{below.name}.png"
        if not picture.is_file():
            raise UserError("no picture of the view", picture)
        views.append(View(below.name, picture, *_camera(below / f"{below.name}.json")))
    return Capture(folder.resolve().name, tuple(views), folder)


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if _VIEW.fullmatch(one.name) and one.is_dir())


def _camera(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = json.loads(decode(file.read_bytes()))
        columns = [content[key] for key in ("x", "y", "z", "origin")]
        fov = float(content["x_fov"]), float(content["y_fov"])
        pose = np.array(columns, np.float64).T
    except FileNotFoundError:
        raise UserError("no such camera file", file) from None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        hint = "expected x, y, z, origin, x_fov and y_fov"
        raise UserError(f"not a camera of GObjaverse ({type(error).__name__}: {error})", file, hint) from error
    if not all(0 < angle < np.pi for angle in fov):
        raise UserError(f"a field of view of {fov} is not between 0 and pi radians", file)
    # validate_pose does not mind the axes: negating two of them keeps a rotation one.
    c2w = Camera.from_opencv(validate_pose(real_array(pose, "pose", file), file)).c2w
    focal = 0.5 / np.tan(np.array(fov) / 2)
    return c2w, np.array([*focal, 0.5, 0.5], np.float32)
