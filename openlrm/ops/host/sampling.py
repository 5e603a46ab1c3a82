"""Compiled loops on numpy arrays for PyNative on a CPU; imported where used, since numba takes a third of a second.

Two loops stand for the gather, the 12 weights and the batched product of `openlrm.ops.sampling`, which moves 12
vectors a point through memory three times.
"""

import numba
import numpy as np

# (column axis, row axis) of the three planes, as `openlrm.ops.sampling.PLANE_AXES`.
_COLUMN_AXIS = (0, 0, 2)
_ROW_AXIS = (1, 2, 1)


@numba.njit(cache=True, inline="always")
def _cell(value, side):
    """First of two texels around a coordinate in [-1, 1] and the fraction of the way to the second; -2: outside."""
    grid = (value + 1) * (0.5 * side) - 0.5
    # Written so that a NaN is outside.
    if not (grid > -1 and grid < side):
        return -2, np.float32(0)
    first = int(np.floor(grid))
    return first, np.float32(grid - first)


@numba.njit(parallel=True, fastmath=True, cache=True)
def sample_planes(planes, points, out):
    """Bilinear features of points, zeros outside.

    Args:
        planes: (3, H, W, C) float32.
        points: (P, 3) float32.
        out: (P, 3 * C) float32, written.
    """
    _, height, width, channels = planes.shape
    for p in numba.prange(len(points)):
        for k in range(3):
            x, fx = _cell(points[p, _COLUMN_AXIS[k]], width)
            y, fy = _cell(points[p, _ROW_AXIS[k]], height)
            target = out[p, k * channels : (k + 1) * channels]
            target[:] = 0
            if x == -2 or y == -2:
                continue
            for corner in range(4):
                column, row = x + corner % 2, y + corner // 2
                if 0 <= column < width and 0 <= row < height:
                    weight = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
                    texel = planes[k, row, column]
                    for c in range(channels):
                        target[c] += weight * texel[c]


@numba.njit(parallel=True, fastmath=True, cache=True)
def scatter_planes(gradient, points, parts):
    """Transpose of `sample_planes`: what the features' gradient gives the planes.

    Args:
        gradient: (P, 3 * C) float32.
        points: (P, 3) float32.
        parts: (T, 3, H, W, C) float32 zeros, one share for each of T parallel parts; their sum is the result.
    """
    shares, _, height, width, channels = parts.shape
    count = len(points)
    for share in numba.prange(shares):
        for p in range(share * count // shares, (share + 1) * count // shares):
            for k in range(3):
                x, fx = _cell(points[p, _COLUMN_AXIS[k]], width)
                y, fy = _cell(points[p, _ROW_AXIS[k]], height)
                if x == -2 or y == -2:
                    continue
                source = gradient[p, k * channels : (k + 1) * channels]
                for corner in range(4):
                    column, row = x + corner % 2, y + corner // 2
                    if 0 <= column < width and 0 <= row < height:
                        weight = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
                        texel = parts[share, k, row, column]
                        for c in range(channels):
                            texel[c] += weight * source[c]
