"""The rotation at which two clouds of points are nearest, by trying all of a list, in the manner of ZeroShape.

Huang et al., ZeroShape, 2024, compare shapes whose pose is unknown: each cloud minus its mean, divided by the larger of
its x and y extents, x and y being the picture's axes; the prediction is turned by 24 x 24 x 12 rotations, normalised
again after each, and the least Chamfer distance counts.

Every one of them is tried, but few are measured: distances from either cloud are kept on a grid, which bounds the
Chamfer distance of a rotation from below. Rotations are measured in the order of their bounds until none can be better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlrm.metrics.mesh import MeshScores, score_points
from openlrm.utils.threads import spread_ranges

ANGLES = (24, 24, 12)
_CELLS = 80  # of the grid along the longest side of a cloud
_AROUND = 0.25  # of that side, how far the grid reaches beyond it


@dataclass(frozen=True)
class Alignment:
    """What the search found.

    Attributes:
        rotation: (3, 3) that the prediction is turned by.
        prediction: (P, 3) turned and normalised.
        truth: (Q, 3) normalised.
        scores: of these two.
        measured: how many rotations had to be measured exactly.
    """

    rotation: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray
    scores: MeshScores
    measured: int


def normalised(points: np.ndarray) -> np.ndarray:
    """A cloud (P, 3) minus its mean, over the larger of its x and y extents.

    Raises:
        ValueError: it has no such extent.
    """
    points = np.asarray(points, np.float64)
    points = points - points.mean(axis=0)
    extent = np.ptp(points[:, :2], axis=0).max()
    if not extent > 0:
        raise ValueError("the points have no extent along x and y")
    return points / extent


def euler_rotations(counts: Sequence[int] = ANGLES) -> np.ndarray:
    """Rotations Rz(a) Ry(c) Rx(b), evenly spaced, identity among them: (R, 3, 3).

    Args:
        counts: of a and b, all round, and of c, from -90 degrees to below 90; even numbers.
    """
    a, b = (2 * np.pi * np.arange(count) / count for count in counts[:2])
    c = np.pi * np.arange(counts[2]) / counts[2] - np.pi / 2
    a, b, c = (one.ravel() for one in np.meshgrid(a, b, c, indexing="ij"))
    zero, one = np.zeros_like(a), np.ones_like(a)
    turns = []
    for angle, axis in ((a, 2), (c, 1), (b, 0)):
        cos, sin = np.cos(angle), np.sin(angle)
        rows = {
            0: [one, zero, zero, zero, cos, -sin, zero, sin, cos],
            1: [cos, zero, sin, zero, one, zero, -sin, zero, cos],
            2: [cos, -sin, zero, sin, cos, zero, zero, zero, one],
        }[axis]
        turns.append(np.stack(rows, axis=-1).reshape(-1, 3, 3))
    return turns[0] @ turns[1] @ turns[2]


def align_by_search(
    prediction: np.ndarray,
    truth: np.ndarray,
    thresholds: Sequence[float] = (),
    rotations: np.ndarray | None = None,
    icp_steps: int = 0,
) -> Alignment:
    """Turn a cloud so that its Chamfer distance from another is least.

    Args:
        prediction: (P, 3), x and y along the picture.
        truth: (Q, 3), likewise.
        thresholds: of the F-score; 1 is the larger of the x and y extents.
        rotations: (R, 3, 3) that are tried; those of `euler_rotations` without it.
        icp_steps: rounds of iterative closest points (Besl and McKay, 1992) with scale after the search.

    Returns:
        The best; its Chamfer distance is the mean of the two mean distances, as in `MeshScores`.

    Raises:
        ValueError: points without an extent.
    """
    from scipy.spatial import cKDTree

    rotations = euler_rotations() if rotations is None else np.asarray(rotations, np.float64)
    ours = np.asarray(prediction, np.float64) - np.mean(prediction, axis=0)
    size = np.ptp(ours, axis=0).max()
    if not size > 0:
        raise ValueError("the points have no extent")
    ours, theirs = ours / size, normalised(truth)
    our_tree, their_tree = cKDTree(ours), cKDTree(theirs)
    scales, bounds = _bounds(rotations, ours, theirs, our_tree, their_tree)
    best, least, measured = -1, np.inf, 0
    for index in np.argsort(bounds, kind="stable"):
        if not bounds[index] < least:
            break
        measured += 1
        turned = scales[index] * ours @ rotations[index].T
        back = scales[index] * our_tree.query(theirs @ rotations[index] / scales[index])[0]
        distance = (their_tree.query(turned)[0].mean() + back.mean()) / 2
        if distance < least:
            best, least = int(index), distance
    rotation, turned = rotations[best], normalised(ours @ rotations[best].T)
    for _ in range(icp_steps):
        turn, turned = _closest_step(turned, theirs, their_tree)
        rotation = turn @ rotation
    return Alignment(rotation, turned, theirs, score_points(turned, theirs, thresholds), measured)


def _bounds(rotations: np.ndarray, ours: np.ndarray, theirs: np.ndarray, our_tree, their_tree) -> tuple:
    from openlrm.metrics.alignment_kernels import chamfer_bounds

    scales, bounds = np.empty(len(rotations)), np.empty(len(rotations))
    step = max(np.ptp(ours, axis=0).max(), np.ptp(theirs, axis=0).max()) / _CELLS
    our_low, our_field = _field(ours, our_tree, step)
    their_low, their_field = _field(theirs, their_tree, step)

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        chamfer_bounds(
            *(rotations[part], ours, theirs, our_field, our_low, their_field, their_low),
            *(step, scales[part], bounds[part]),
        )

    spread_ranges(work, len(rotations), 64)
    return scales, bounds


def _field(points: np.ndarray, tree, step: float) -> tuple[np.ndarray, np.ndarray]:
    """First point of a grid around a cloud, and the distances from the cloud at all of its points."""
    margin = _AROUND * np.ptp(points, axis=0).max()
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    axes = [np.arange(start, stop + step, step) for start, stop in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distances = tree.query(grid.reshape(-1, 3), workers=-1)[0]
    return low, np.ascontiguousarray(distances.reshape(grid.shape[:3]))


def _closest_step(turned: np.ndarray, theirs: np.ndarray, tree) -> tuple[np.ndarray, np.ndarray]:
    """One round: the similarity (Umeyama, 1991) that brings every point nearest to its closest one."""
    closest = theirs[tree.query(turned)[1]]
    from_mean, to_mean = turned.mean(axis=0), closest.mean(axis=0)
    a, b = turned - from_mean, closest - to_mean
    u, values, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = (u * signs) @ vt
    scale = (values * signs).sum() / (a * a).sum()
    return turn, scale * a @ turn.T + to_mean
