"""Do the poses of an object fit its pictures? Told by its silhouettes alone.

A point of the object lies inside the silhouette of every view. Points of a grid that do (the visual hull) therefore
cover every silhouette again, if the cameras are where the poses say and look where they say. With another axis
convention they do not: the object is behind the camera, or the silhouettes have nothing in common.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openlrm.cameras import project

VIEWS = 8
"""Views that are compared; more would only take longer."""

GOOD = 0.9
"""Least agreement of poses that can be right; 24 rendered objects reach 0.98 to 1, a bottle upside down 0.95."""

_GAIN = 0.03  # by how much another convention must fit better
_CELLS = 32  # the silhouettes are compared as 32 x 32 cells, so that thin parts are not lost between grid points
_GRID = 48  # grid points along an edge of the cube: about as close as the cells, seen from 2 units away


def coarse_mask(alpha: np.ndarray) -> np.ndarray:
    """Return (32, 32) bool from (H, W) uint8 alpha: cells the object has a part in, at least half opaque."""
    mask = np.zeros((_CELLS, _CELLS), bool)
    rows, columns = np.nonzero(alpha > 127)
    mask[rows * _CELLS // alpha.shape[0], columns * _CELLS // alpha.shape[1]] = True
    return mask


def agreement(masks: np.ndarray, poses: np.ndarray, intrinsics: np.ndarray) -> float:
    """How much of the silhouettes the visual hull covers.

    Args:
        masks: (V, 32, 32) from `coarse_mask`.
        poses: (V, 3, 4) camera-to-world.
        intrinsics: (4,) normalised.

    Returns:
        0 to 1, the mean over the views.
    """
    line = (np.arange(_GRID) + 0.5) * 2 / _GRID - 1
    hull = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
    for mask, pose in zip(masks, poses, strict=True):
        inside, cells = _cells(hull, pose, intrinsics)
        hull = hull[inside][mask.reshape(-1)[cells]]
    covered = []
    for mask, pose in zip(masks, poses, strict=True):
        hit = np.zeros(_CELLS * _CELLS, bool)
        hit[_cells(hull, pose, intrinsics)[1]] = True
        covered.append(hit.sum() / max(mask.sum(), 1))
    return float(np.mean(covered))


def better_convention(
    masks: np.ndarray, poses: np.ndarray, intrinsics: np.ndarray, as_stored: float
) -> tuple[str, float] | None:
    """Find a convention in which the poses fit, and better than as they are.

    Args:
        masks: (V, 32, 32) from `coarse_mask`.
        poses: (V, 3, 4) as stored.
        intrinsics: (4,) normalised.
        as_stored: their agreement.

    Returns:
        What the poses seem to be, in words, and the agreement reached; None when there is no such convention.
    """
    if as_stored > 1 - _GAIN:
        return None
    scores = {name: agreement(masks, convert(poses), intrinsics) for name, convert in CONVENTIONS.items()}
    best = max(scores, key=scores.__getitem__)
    return (best, scores[best]) if scores[best] >= max(GOOD, as_stored + _GAIN) else None


def _turned(*signs: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda poses: poses * np.array([*signs, 1.0])


def _inverted(poses: np.ndarray) -> np.ndarray:
    rotation = poses[:, :, :3].swapaxes(1, 2)
    return np.concatenate([rotation, -rotation @ poses[:, :, 3:]], axis=-1)


_opencv = _turned(1, -1, -1)

CONVENTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "OpenCV axes (+Y down, +Z forward): negate the second and third columns": _opencv,
    "world-to-camera: invert them": _inverted,
    "world-to-camera in OpenCV axes, as COLMAP writes: invert them, then negate the second and third columns": (
        lambda poses: _opencv(_inverted(poses))
    ),
    "turned upside down: negate the first and second columns": _turned(-1, -1, 1),
    "turned to look backwards: negate the first and third columns": _turned(-1, 1, -1),
}
"""What poses are mistaken for, and how to get ours from it."""


def _cells(points: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which points are in the picture, and the cells those fall into."""
    uv, _ = project(points, pose, intrinsics)
    inside = ((uv >= 0) & (uv < 1)).all(axis=-1)  # NaN, behind the camera, is not inside
    columns, rows = (uv[inside] * _CELLS).astype(int).T
    return inside, rows * _CELLS + columns
