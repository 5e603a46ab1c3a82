"""Cells of the cube [-0.5, 0.5]^3: where they stand, which are occupied."""

from __future__ import annotations

import numpy as np

from openlrm.errors import UserError


def cell_positions(index: np.ndarray, grid: int, voxels: str) -> np.ndarray:
    """Where cells stand.

    Args:
        index: (..., 3) whole numbers from 0 to grid - 1.
        grid: cells a side.
        voxels: "corners": cell k at k / (G - 1) - 0.5, as released; "centres": at (k + 0.5) / G - 0.5.

    Returns:
        (..., 3) float32.
    """
    index = np.asarray(index, np.float64)
    share = index / (grid - 1) if voxels == "corners" else (index + 0.5) / grid
    return (share - 0.5).astype(np.float32)


def token_positions(tokens: int, voxels: str) -> np.ndarray:
    """Anchors (tokens^3, 3) of the proposal network, x slowest."""
    index = np.stack(np.meshgrid(*[np.arange(tokens)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return cell_positions(index, tokens, voxels)


def select_cells(
    logits: np.ndarray, most: int, threshold: float = 0.0, subset: str = "random", seed: int = 0
) -> np.ndarray:
    """Occupied cells in the order of their index, x slowest.

    Args:
        logits: (G, G, G).
        most: cells chosen at most.
        threshold: a cell with a larger logit is occupied.
        subset: where there are more, "random" ones by the seed, or "top", those of the largest logits.
        seed: of the draw.

    Returns:
        (S, 3) int64.

    Raises:
        UserError: none is occupied, or a logit is not finite.
    """
    flat = logits.reshape(-1)
    if not np.isfinite(flat).all():
        raise UserError("the occupancy holds NaN or infinity", hint="are the weights damaged?")
    found = np.flatnonzero(flat > threshold)
    if not len(found):
        what = f"no cell is occupied: the largest logit is {flat.max():.3g}, occupancy_threshold={threshold:g}"
        raise UserError(what, hint="are cameras and pictures of one object? or give a lower occupancy_threshold")
    if len(found) > most:
        if subset == "top":
            found = np.sort(found[np.argsort(-flat[found], kind="stable")[:most]])
        else:
            found = np.sort(np.random.default_rng(seed).choice(found, most, replace=False))
    return np.stack(np.unravel_index(found, logits.shape), -1)


def cells_of_points(points: np.ndarray, grid: int, voxels: str) -> np.ndarray:
    """Cells that points of a surface lie in, each once.

    Args:
        points: (P, 3).
        grid: cells a side.
        voxels: "corners": cell round((p + 0.5) G), half to even, as the published truth; "centres": floor.

    Returns:
        (N, 3) int64, sorted, cut to 0 .. grid - 1.
    """
    places = (np.asarray(points, np.float64) + 0.5) * grid
    places = np.rint(places) if voxels == "corners" else np.floor(places)
    return np.unique(np.clip(places, 0, grid - 1).astype(np.int64), axis=0)
