"""Bilinear samples of several maps at free positions, weighted and summed, by compiled loops; and their gradients.

Maps are channel-last, so a sample reads four runs of a head's channels.
"""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, f32
from openlrm.utils.compiled import compiled

_REORDER = EXACT | {"reassoc"}


@njit(fastmath=EXACT)
def _cell(position, side):
    """First of two texels around a position in [0, 1] and the way to the second; -2: outside, a NaN too."""
    at = position * f32(side) - f32(0.5)
    if not (at > f32(-1) and at < f32(side)):
        return -2, f32(0)
    first = math.floor(at)
    return int(first), f32(at - first)


@njit(fastmath=_REORDER)
def _add(out, factor, texel):
    for c in range(len(out)):
        out[c] += factor * texel[c]


@njit(fastmath=_REORDER)
def _dot(a, b):
    total = f32(0)
    for c in range(len(a)):
        total += a[c] * b[c]
    return total


@compiled()
def sample(values, sizes, positions, weights, first, last, out):
    """Sums of tokens first..last.

    Args:
        values: (L, heads, C) float32, the maps one after the other, each row by row.
        sizes: (levels, 2) int64, height and width of each map.
        positions: (S, heads, levels, points, 2) float32, x and y in [0, 1] of the map; outside reads zeros.
        weights: (S, heads, levels, points) float32.
        first: token to begin with.
        last: one past the last.
        out: (S, heads, C), written.
    """
    _, heads, levels, points, _ = positions.shape
    for token in range(first, last):
        for head in range(heads):
            target = out[token, head]
            target[:] = f32(0)
            start = 0
            for level in range(levels):
                height, width = sizes[level, 0], sizes[level, 1]
                for point in range(points):
                    x, fx = _cell(positions[token, head, level, point, 0], width)
                    y, fy = _cell(positions[token, head, level, point, 1], height)
                    if x == -2 or y == -2:
                        continue
                    weight = weights[token, head, level, point]
                    for corner in range(4):
                        column, row = x + corner % 2, y + corner // 2
                        if 0 <= column < width and 0 <= row < height:
                            share = (fx if corner % 2 else f32(1) - fx) * (fy if corner // 2 else f32(1) - fy)
                            _add(target, weight * share, values[start + row * width + column, head])
                start += height * width


@compiled()
def sample_gradient(values, sizes, positions, weights, head, dout, dvalues, dpositions, dweights):
    """Gradients of one head, whose texels no other head touches.

    Args:
        values: as in `sample`, and the next three likewise.
        sizes: ...
        positions: ...
        weights: ...
        head: the head.
        dout: (S, heads, C).
        dvalues: (L, heads, C) zeros, this head's are added to.
        dpositions: shaped as positions, this head's are written.
        dweights: shaped as weights, likewise.
    """
    tokens, _, levels, points, _ = positions.shape
    dots = np.empty(4, f32)
    for token in range(tokens):
        given = dout[token, head]
        start = 0
        for level in range(levels):
            height, width = sizes[level, 0], sizes[level, 1]
            for point in range(points):
                place = dpositions[token, head, level, point]
                place[0], place[1], dweights[token, head, level, point] = f32(0), f32(0), f32(0)
                x, fx = _cell(positions[token, head, level, point, 0], width)
                y, fy = _cell(positions[token, head, level, point, 1], height)
                if x == -2 or y == -2:
                    continue
                weight = weights[token, head, level, point]
                for corner in range(4):
                    column, row = x + corner % 2, y + corner // 2
                    dots[corner] = f32(0)
                    if 0 <= column < width and 0 <= row < height:
                        share = (fx if corner % 2 else f32(1) - fx) * (fy if corner // 2 else f32(1) - fy)
                        at = start + row * width + column
                        dots[corner] = _dot(given, values[at, head])
                        _add(dvalues[at, head], weight * share, given)
                upper, lower = dots[1] - dots[0], dots[3] - dots[2]
                left, right = dots[2] - dots[0], dots[3] - dots[1]
                above, below = dots[0] + fx * upper, dots[2] + fx * lower
                dweights[token, head, level, point] = above + fy * (below - above)
                place[0] = weight * f32(width) * (upper + fy * (lower - upper))
                place[1] = weight * f32(height) * (left + fx * (right - left))
            start += height * width
