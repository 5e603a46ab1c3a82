"""Which points of a surface a camera sees, by two methods, and figures of the errors on either side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from openlrm.analysis.bands import Definitions
from openlrm.cameras import DEFAULT_INTRINSICS, project
from openlrm.errors import UserError


def visible_by_depth(
    points: np.ndarray,
    depth: np.ndarray,
    c2w: ArrayLike,
    intrinsics: ArrayLike = DEFAULT_INTRINSICS,
    tolerance: float = 0.05,
    definitions: Definitions = "consistent",
) -> np.ndarray:
    """Points that lie where the camera's ray ends.

    Consistent: inside the frame, and the distance to the camera within `tolerance` of the depth at that pixel.
    Parity: the picture's rows upside down, and the distance taken along the viewing axis.

    Args:
        points: (P, 3) world.
        depth: (H, W) along unit rays, infinite where there is nothing.
        c2w: (3, 4) or (4, 4) camera-to-world.
        intrinsics: (4,) normalised.
        tolerance: share of the depth.
        definitions: see above.

    Returns:
        (P,) boolean.
    """
    points, c2w = np.asarray(points, np.float64), np.asarray(c2w, np.float64)
    uv, along_axis = project(points, c2w, intrinsics)
    if definitions == "parity":
        uv, distance = np.stack([uv[:, 0], 1 - uv[:, 1]], -1), along_axis
    else:
        distance = np.linalg.norm(points - c2w[:3, 3], axis=-1)
    inside, rows, columns = pixels_of(uv, *depth.shape)
    there = np.where(inside, depth[rows, columns], np.inf)
    found = inside & np.isfinite(there)
    return found & (np.abs(distance - np.where(found, there, 0)) < tolerance * np.where(found, there, 0))


def pixels_of(uv: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel of each image point.

    Args:
        uv: (P, 2) in [0, 1], NaN behind the camera.
        height: of the picture in pixels.
        width: the same.

    Returns:
        (P,) whether it lies in the frame, and (P,) row and (P,) column, 0 where it does not.
    """
    inside = ((uv >= 0) & (uv < 1)).all(-1)
    rows, columns = (np.where(inside, uv[:, axis] * size, 0).astype(int) for axis, size in ((1, height), (0, width)))
    return inside, rows, columns


def visible_by_normal(points: np.ndarray, normals: np.ndarray, c2w: ArrayLike) -> np.ndarray:
    """Points whose surface faces the camera: n . (camera - p) > 0.

    Args:
        points: (P, 3) world.
        normals: (P, 3) outward, any length.
        c2w: (3, 4) or (4, 4).

    Returns:
        (P,) boolean.
    """
    to_camera = np.asarray(c2w, np.float64)[:3, 3] - points
    return (normals * to_camera).sum(-1) > 0


def outward_normals(density: Callable[[np.ndarray], np.ndarray], points: np.ndarray, step: float = 0.02) -> np.ndarray:
    """Normals of a density field, -gradient by central differences, of length 1.

    Args:
        density: (Q, 3) points -> (Q,) values.
        points: (P, 3).
        step: distance from the point to either side, world units.

    Returns:
        (P, 3); zeros where the density does not change.
    """
    points = np.asarray(points, np.float64)
    offsets = step * np.concatenate([np.eye(3), -np.eye(3)])
    values = np.asarray(density((points[None] + offsets[:, None]).reshape(-1, 3)), np.float64)
    ahead, behind = values.reshape(2, 3, len(points))
    downhill = (behind - ahead).T / (2 * step)
    length = np.linalg.norm(downhill, axis=-1, keepdims=True)
    return np.divide(downhill, length, out=np.zeros_like(downhill), where=length > 0)


def shell(occupied: np.ndarray) -> np.ndarray:
    """Cells of a body that have one of their six neighbours outside it: the others are never seen.

    Args:
        occupied: (X, Y, Z) boolean; beyond the grid is outside.

    Returns:
        (X, Y, Z) boolean.
    """
    padded = np.pad(occupied, 1)
    enclosed = np.ones(occupied.shape, bool)
    for axis in range(3):
        for shift in (-1, 1):
            enclosed &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return occupied & ~enclosed


def view_angle(c2w: ArrayLike, source_c2w: ArrayLike) -> float:
    """Angle in degrees between two cameras as seen from the origin."""
    a, b = (np.asarray(pose, np.float64)[:3, 3] for pose in (c2w, source_c2w))
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def group_figures(errors: np.ndarray, group: str) -> dict[str, float]:
    """Figures of the errors (P,) of one group of points.

    Returns:
        count, mean, median, std (population), p90 and max.

    Raises:
        UserError: no point in the group, named by `group`.
    """
    if not len(errors):
        raise UserError(f"no {group} point on this surface", hint="use a finer grid or another source view")
    errors = np.asarray(errors, np.float64)
    return {
        "count": len(errors),
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "std": float(errors.std()),
        "p90": float(np.percentile(errors, 90)),
        "max": float(errors.max()),
    }
