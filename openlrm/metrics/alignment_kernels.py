"""Compiled loops of the search for a rotation: how near two clouds can be at most, from distances kept on a grid."""

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled


@njit
def _least(field, low, step, x, y, z):
    """Least distance that a point can have from the cloud whose distances are known at the grid's points.

    A distance changes no faster than its point moves.
    """
    nx, ny, nz = field.shape
    i = min(max(round((x - low[0]) / step), 0), nx - 1)
    j = min(max(round((y - low[1]) / step), 0), ny - 1)
    k = min(max(round((z - low[2]) / step), 0), nz - 1)
    dx, dy, dz = x - low[0] - i * step, y - low[1] - j * step, z - low[2] - k * step
    return max(field[i, j, k] - np.sqrt(dx * dx + dy * dy + dz * dz), 0.0)


@compiled()
def chamfer_bounds(rotations, ours, theirs, our_field, our_low, their_field, their_low, step, scales, bounds):
    """Fill the scale and a lower bound of the Chamfer distance of every rotation of a cloud.

    Args:
        rotations: (R, 3, 3).
        ours: (P, 3) the cloud that is rotated, its mean at the origin.
        theirs: (Q, 3) the other one.
        our_field: distances from `ours` at the points of a grid.
        our_low: (3,) its first point.
        their_field: distances from `theirs`, likewise.
        their_low: (3,) likewise.
        step: of both grids.
        scales: (R,) result: 1 over the larger of the x and y extents of the rotated cloud.
        bounds: (R,) result.
    """
    for r in range(len(rotations)):
        m = rotations[r]
        x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
        for p in range(len(ours)):
            x = m[0, 0] * ours[p, 0] + m[0, 1] * ours[p, 1] + m[0, 2] * ours[p, 2]
            y = m[1, 0] * ours[p, 0] + m[1, 1] * ours[p, 1] + m[1, 2] * ours[p, 2]
            x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
        extent = max(x1 - x0, y1 - y0)
        scale = 1 / extent if extent > 0 else np.inf
        scales[r] = scale
        if not extent > 0:
            bounds[r] = np.inf
            continue
        there = 0.0
        for p in range(len(ours)):
            a, b, c = scale * ours[p, 0], scale * ours[p, 1], scale * ours[p, 2]
            x = m[0, 0] * a + m[0, 1] * b + m[0, 2] * c
            y = m[1, 0] * a + m[1, 1] * b + m[1, 2] * c
            z = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c
            there += _least(their_field, their_low, step, x, y, z)
        back = 0.0
        for q in range(len(theirs)):
            # The other way in our own frame: the rotation undone, distances scaled.
            a, b, c = theirs[q, 0] / scale, theirs[q, 1] / scale, theirs[q, 2] / scale
            x = m[0, 0] * a + m[1, 0] * b + m[2, 0] * c
            y = m[0, 1] * a + m[1, 1] * b + m[2, 1] * c
            z = m[0, 2] * a + m[1, 2] * b + m[2, 2] * c
            back += scale * _least(our_field, our_low, step, x, y, z)
        bounds[r] = (there / len(ours) + back / len(theirs)) / 2
