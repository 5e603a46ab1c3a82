"""Folders of numbered pictures, 000.png ..., whose cameras lie in one file: what several formats share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera, validate_pose
from openlrm.cameras.conventions import real_array
from openlrm.datasets.readers.capture import Capture, View
from openlrm.errors import UserError

_NUMBERED = re.compile(r"\d+\.(png|webp)")


def numbered_pictures(folder: Path) -> list[Path]:
    """Pictures whose whole name is a number, in its order; depth and normal maps beside them are not."""
    return sorted((one for one in folder.iterdir() if _NUMBERED.fullmatch(one.name)), key=lambda one: int(one.stem))


def poses_from_w2c(matrices: object, where: object, opencv: bool) -> list[np.ndarray]:
    """Camera-to-world poses (3, 4), OpenGL axes, of world-to-camera matrices (V, 3, 4) or (V, 4, 4).

    Raises:
        UserError: another shape, or a matrix that is no rigid motion.
    """
    matrices = real_array(np.asarray(matrices), "camera poses", where)
    if matrices.ndim != 3 or matrices.shape[1:] not in ((3, 4), (4, 4)):
        hint = "expected (V, 3, 4) or (V, 4, 4) world-to-camera"
        raise UserError(f"camera poses have shape {matrices.shape}", where, hint)
    checked = [validate_pose(one, f"{where} (camera {index})") for index, one in enumerate(matrices)]
    return list(Camera.from_w2c(np.stack(checked), opencv=opencv).c2w)


def numbered_capture(folder: Path, poses: Sequence[np.ndarray], intrinsics: Sequence[float], where: Path) -> Capture:
    """A capture of numbered pictures, the n-th pose being that of picture n.

    Raises:
        UserError: no pictures, or a picture without a camera.
    """
    pictures = numbered_pictures(folder)
    if not pictures:
        raise UserError("the object has no pictures", folder, "expected 000.png, 001.png, ...")
    if int(pictures[-1].stem) >= len(poses):
        raise UserError(f"no camera for {pictures[-1].name}", where, f"it has {len(poses)}, for 0 to {len(poses) - 1}")
    lens = np.array(intrinsics, np.float32)
    views = tuple(View(one.stem, one, poses[int(one.stem)], lens) for one in pictures)
    return Capture(folder.resolve().name, views, where)
