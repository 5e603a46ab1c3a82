"""Grids of signed distances, negative inside: their points, what to do without a surface, a regulariser."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from mindspore import Tensor, ops

from openlrm.errors import UserError
from openlrm.ops.host.arrays import float_array


@lru_cache(maxsize=2)
def grid_points(shape: tuple[int, int, int], scale: float) -> np.ndarray:
    """Places of a grid's points, read-only.

    Args:
        shape: cubes along x, y, z.
        scale: length of each side; the grid is centred at 0.

    Returns:
        (X + 1, Y + 1, Z + 1, 3) float32. As published, shares of a side are rounded to five decimals, and the rest is
        done in float32.
    """
    shares = [np.round(np.arange(n + 1) / n, 5).astype(np.float32) for n in shape]
    axes = [(share - np.float32(0.5)) * np.float32(scale) for share in shares]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    points.flags.writeable = False
    return points


def displace(points: Tensor, raw: Tensor) -> Tensor:
    """Move grid points by less than a quarter of (world unit / R): points + tanh(raw) / (4 R).

    Args:
        points: (X + 1, Y + 1, Z + 1, 3).
        raw: the same shape, what a network gave.
    """
    return points + ops.tanh(raw) / (4 * (points.shape[0] - 1))


def require_surface(sdf: np.ndarray) -> None:
    """Refuse a grid whose inner points are all on one side.

    Raises:
        UserError: with the range of the distances.
    """
    if not _has_both_sides(sdf):
        raise UserError(
            f"no surface: distances inside the grid lie in {sdf.min():.3g} to {sdf.max():.3g}",
            hint="a surface needs both signs; shift the distances by a value in that range, or check the field",
        )


def guard_surface(sdf: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Give a grid without a surface a small one, so that training goes on, and a loss that leads out.

    Where inner points are all on one side, the point next to the centre becomes inside and the two outermost layers
    outside; nothing of this has a gradient. (The published guard makes the border the inside and ignores the loss.)

    Args:
        sdf: (X + 1, Y + 1, Z + 1).
        points: (X + 1, Y + 1, Z + 1, 3), displaced.

    Returns:
        distances, points, mean |distance| of an empty grid (0 of another), whether it was empty.
    """
    if _has_both_sides(float_array(sdf)):
        return sdf, points, ops.zeros((), sdf.dtype), False
    values = float_array(sdf).copy()
    reach = 1 + np.abs(values).max()
    border = np.ones(values.shape, bool)
    border[2:-2, 2:-2, 2:-2] = False
    values[border] = reach
    values[tuple((n - 1) // 2 + 1 for n in values.shape)] = -reach
    return Tensor.from_numpy(values), ops.stop_gradient(points), sdf.abs().mean(), True


def _has_both_sides(sdf: np.ndarray) -> bool:
    inner = sdf[1:-1, 1:-1, 1:-1]
    return bool((inner > 0).any() and (inner < 0).any())


def sign_regulariser(grids: list[Tensor]) -> Tensor:
    """Binary cross-entropy that draws the two ends of crossing edges to each other's side.

    Over all grid edges of the batch whose ends differ in sign (zero differs from both): mean of
    BCE(s_a, [s_b > 0]) plus mean of BCE(s_b, [s_a > 0]), with distances as logits (Munkberg et al., 2022, the
    regulariser of nvdiffrec).

    Args:
        grids: each (X + 1, Y + 1, Z + 1).

    Returns:
        scalar; 0 without such edges.
    """
    found = [_crossing_edges(np.sign(float_array(sdf))) for sdf in grids]
    count = sum(len(a) for a, _ in found)
    if count == 0:
        return ops.zeros((), grids[0].dtype)
    total = 0
    for sdf, (a, b) in zip(grids, found, strict=True):
        if len(a):
            here, there = (ops.gather(sdf.reshape(-1), Tensor(i.astype(np.int32)), 0) for i in (a, b))
            total = total + _entropy(here, there).sum() + _entropy(there, here).sum()
    return total / count


def _entropy(logits: Tensor, other: Tensor) -> Tensor:
    """BCE with logits against [other > 0]."""
    target = (other > 0).astype(logits.dtype)
    return ops.relu(logits) - logits * target + ops.log1p(ops.exp(-logits.abs()))


def _crossing_edges(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of both ends of all grid edges whose ends differ."""
    starts, ends = [], []
    for axis in range(3):
        ahead = [slice(None)] * 3
        ahead[axis] = slice(0, -1)
        differ = np.zeros(signs.shape, bool)
        differ[tuple(ahead)] = np.diff(signs, axis=axis) != 0
        starts.append(np.flatnonzero(differ))
        ends.append(starts[-1] + signs.strides[axis] // signs.itemsize)
    return np.concatenate(starts), np.concatenate(ends)
