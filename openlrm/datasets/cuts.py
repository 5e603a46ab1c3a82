"""What a picture can cut off of an object, told by the box the object lies in."""

from __future__ import annotations

import numpy as np

from openlrm.cameras import project

_GRID = 16  # points along an edge of a side


def reaches_border(bounds: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, side: int) -> bool:
    """Return whether a box comes as near as a pixel to the border of a picture, or goes beyond it.

    Args:
        bounds: (2, 3) least and greatest corner, world.
        pose: (3, 4) camera-to-world.
        intrinsics: (4,) normalised.
        side: of the picture in pixels.
    """
    corners = np.stack(np.meshgrid(*bounds.T), axis=-1).reshape(-1, 3)
    uv, _ = project(corners, pose, intrinsics)
    # NaN, behind the camera, is outside.
    return not ((uv > 1 / side) & (uv < 1 - 1 / side)).all()


def share_cut(bounds: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray) -> float:
    """Return how much of the sides of a box that face a camera lies outside of its picture, as a share of their area.

    Args:
        bounds: (2, 3) least and greatest corner, world.
        pose: (3, 4) camera-to-world.
        intrinsics: (4,) normalised.

    Returns:
        0 to 1; 1 for a camera inside the box.
    """
    corners, centre = bounds, pose[:, 3]
    steps = (np.arange(_GRID) + 0.5) / _GRID
    u, v = (grid.reshape(-1) for grid in np.meshgrid(steps, steps))
    outside = total = 0.0
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        area = np.prod((corners[1] - corners[0])[others])
        for end, sign in ((0, -1), (1, 1)):
            if sign * (centre[axis] - corners[end, axis]) <= 0:
                continue  # seen from behind
            points = np.empty((len(u), 3))
            points[:, axis] = corners[end, axis]
            points[:, others] = corners[0, others] + np.stack([u, v], 1) * (corners[1] - corners[0])[others]
            uv, _ = project(points, pose, intrinsics)
            total += area
            # NaN, behind the camera, is outside.
            outside += area * (1 - ((uv >= 0) & (uv <= 1)).all(axis=1).mean())
    return outside / total if total else 1.0


def fills_picture(bounds: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, side: int) -> bool:
    """Return whether a box hides everything behind it, but for a pixel along the border of a picture.

    Args:
        bounds: (2, 3) least and greatest corner, world.
        pose: (3, 4) camera-to-world.
        intrinsics: (4,) normalised.
        side: of the picture in pixels.
    """
    fx, fy, cx, cy = intrinsics
    ends = np.array([1.0, side - 1.0]) / side
    u, v = (grid.reshape(-1) for grid in np.meshgrid(ends, ends))
    directions = np.stack([(u - cx) / fx, -(v - cy) / fy, -np.ones(4)], axis=1) @ pose[:, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = ((corner - pose[:, 3]) / directions for corner in bounds)
    # A ray hits the box if it enters the last pair of sides before it leaves another.
    return bool((np.fmin(first, second).max(axis=1) < np.fmax(first, second).min(axis=1)).all())
