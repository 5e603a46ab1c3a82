"""Bilinear sampling of a triplane and its transpose by compiled loops on numpy arrays.

Two loops stand for the gather, the 12 weights and the batched product of `openlrm.ops.sampling`, which moves 12
vectors a point through memory three times.
"""

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, f32
from openlrm.utils.compiled import compiled

# (column axis, row axis) of the three planes, as `openlrm.ops.sampling.PLANE_AXES`.
_COLUMN_AXIS = (0, 0, 2)
_ROW_AXIS = (1, 2, 1)


@njit(fastmath=EXACT, inline="always")
def _cell(value, side):
    """First of two texels around a coordinate in [-1, 1] and the fraction of the way to the second; -2: outside."""
    grid = (value + 1) * (0.5 * side) - 0.5
    # Written so that a NaN is outside.
    if not (grid > -1 and grid < side):
        return -2, f32(0)
    first = int(np.floor(grid))
    return first, f32(grid - first)


@compiled(fastmath=EXACT)
def sample_planes(planes, points, first, last, out):
    """Bilinear features of the points first..last, zeros outside the planes.

    Args:
        planes: (3, H, W, C) float32.
        points: (P, 3) float32.
        first: point to begin with.
        last: one past the last point.
        out: (P, 3 * C) float32, written.
    """
    _, height, width, channels = planes.shape
    for p in range(first, last):
        for k in range(3):
            x, fx = _cell(points[p, _COLUMN_AXIS[k]], width)
            y, fy = _cell(points[p, _ROW_AXIS[k]], height)
            target = out[p, k * channels : (k + 1) * channels]
            target[:] = f32(0)
            if x == -2 or y == -2:
                continue
            for corner in range(4):
                column, row = x + corner % 2, y + corner // 2
                if 0 <= column < width and 0 <= row < height:
                    weight = (fx if corner % 2 else f32(1) - fx) * (fy if corner // 2 else f32(1) - fy)
                    texel = planes[k, row, column]
                    for c in range(channels):
                        target[c] += weight * texel[c]


@compiled(fastmath=EXACT)
def scatter_planes(gradient, points, first, last, sums):
    """Transpose of `sample_planes`: add what the features' gradient gives the planes.

    Args:
        gradient: (P, 3 * C) float32.
        points: (P, 3) float32.
        first: point to begin with.
        last: one past the last point.
        sums: (3, H, W, C) float32, added to.
    """
    _, height, width, channels = sums.shape
    for p in range(first, last):
        for k in range(3):
            x, fx = _cell(points[p, _COLUMN_AXIS[k]], width)
            y, fy = _cell(points[p, _ROW_AXIS[k]], height)
            if x == -2 or y == -2:
                continue
            source = gradient[p, k * channels : (k + 1) * channels]
            for corner in range(4):
                column, row = x + corner % 2, y + corner // 2
                if 0 <= column < width and 0 <= row < height:
                    weight = (fx if corner % 2 else f32(1) - fx) * (fy if corner // 2 else f32(1) - fy)
                    texel = sums[k, row, column]
                    for c in range(channels):
                        texel[c] += weight * source[c]


@compiled(fastmath=EXACT)
def move_points(planes, gradient, points, first, last, out):
    """What the features' gradient gives the points: the slopes of `sample_planes`, zero outside the planes.

    Args:
        planes: (3, H, W, C) float32.
        gradient: (P, 3 * C) float32.
        points: (P, 3) float32.
        first: point to begin with.
        last: one past the last point.
        out: (P, 3) float32, written.
    """
    _, height, width, channels = planes.shape
    for p in range(first, last):
        out[p] = f32(0)
        for k in range(3):
            x, fx = _cell(points[p, _COLUMN_AXIS[k]], width)
            y, fy = _cell(points[p, _ROW_AXIS[k]], height)
            if x == -2 or y == -2:
                continue
            source = gradient[p, k * channels : (k + 1) * channels]
            for corner in range(4):
                column, row = x + corner % 2, y + corner // 2
                if 0 <= column < width and 0 <= row < height:
                    texel = planes[k, row, column]
                    total = f32(0)
                    for c in range(channels):
                        total += texel[c] * source[c]
                    across = (fy if corner // 2 else f32(1) - fy) * (total if corner % 2 else -total)
                    down = (fx if corner % 2 else f32(1) - fx) * (total if corner // 2 else -total)
                    out[p, _COLUMN_AXIS[k]] += across * f32(0.5 * width)
                    out[p, _ROW_AXIS[k]] += down * f32(0.5 * height)
