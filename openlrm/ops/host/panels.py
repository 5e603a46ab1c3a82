"""Products of a transformer's layers by compiled loops on panels: (K / WIDTH, P, WIDTH) for P rows of K numbers.

The tiles of rows that a product reads and the tiles it makes each lie in one piece, so nothing is copied into tiles
or out of them; a panel is also what a head of attention takes. P is a multiple of WIDTH.
"""

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, REORDER, f32
from openlrm.ops.host.layers import gelu
from openlrm.ops.host.sizes import GROUP, TILE, WIDTH
from openlrm.ops.host.tiles import aligned, multiply_group
from openlrm.utils.compiled import compiled


@njit(fastmath=REORDER)
def _sums(panels, block, of_squares, sums):
    """Sum each of the WIDTH rows from `block` on, or its squares: panels (K / WIDTH, P, WIDTH) -> sums (WIDTH,)."""
    sums[:] = f32(0)
    for place in range(len(panels)):
        for i in range(WIDTH):
            row = panels[place, block + i]
            total = f32(0)
            for j in range(WIDTH):
                total += row[j] * row[j] if of_squares else row[j]
            sums[i] += total


@compiled(fastmath=EXACT)
def norm_panels(x, norm, epsilon, first, last, out):
    """LayerNorm of rows first..last, multiples of WIDTH.

    Args:
        x: (K / WIDTH, P, WIDTH).
        norm: (2, K), gain and offset.
        epsilon: added to the variance.
        first: row to begin with.
        last: one past the last row.
        out: as x, written.
    """
    means, sums = np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    share = f32(1) / f32(norm.shape[1])
    for block in range(first, last, WIDTH):
        _sums(x, block, False, means)
        means *= share
        for place in range(len(x)):
            for i in range(WIDTH):
                row, target, mean = x[place, block + i], out[place, block + i], means[i]
                for j in range(WIDTH):
                    target[j] = row[j] - mean
        _sums(out, block, True, sums)
        for i in range(WIDTH):
            sums[i] = f32(1) / np.sqrt(sums[i] * share + epsilon)
        for place in range(len(x)):
            gain = norm[0, place * WIDTH : (place + 1) * WIDTH]
            offset = norm[1, place * WIDTH : (place + 1) * WIDTH]
            for i in range(WIDTH):
                target, scale = out[place, block + i], sums[i]
                for j in range(WIDTH):
                    target[j] = target[j] * scale * gain[j] + offset[j]


@compiled(fastmath=EXACT)
def multiply_panels(x, tiles, bias, activate, onto, first, last, out):
    """Rows first..last, multiples of WIDTH, of out = x times a packed matrix, plus bias.

    Columns of weights are the outer loop: one of them stays in the L2 cache while the rows go by.

    Args:
        x: (K / WIDTH, P, WIDTH).
        tiles: of `host.linear.pack`, for a matrix (K, N).
        bias: (N,) or empty.
        activate: whether an exact GELU follows.
        onto: whether the products are added to out's numbers, as by a residual connection.
        first: row to begin with.
        last: one past the last row.
        out: (N / WIDTH, P, WIDTH).
    """
    group = GROUP * WIDTH
    activated = aligned(TILE)
    for column in range(len(out)):
        for block in range(first, last, WIDTH):
            result = out[column, block : block + WIDTH].reshape(TILE)
            if not onto:
                result[:] = f32(0)
            if len(bias) > 0:
                offset = bias[column * WIDTH : (column + 1) * WIDTH]
                for i in range(WIDTH):
                    target = result[i * WIDTH : (i + 1) * WIDTH]
                    for j in range(WIDTH):
                        target[j] += offset[j]
            for place in range(len(x)):
                rows = x[place, block : block + WIDTH].reshape(TILE)
                start = (column * len(x) + place) * TILE
                tile = tiles[start : start + TILE]
                for p in range(0, TILE, group):
                    multiply_group(rows[p : p + group], tile, result[p : p + group])
            if activate:
                gelu(result, activated)  # in place it would not be vectorised
                for j in range(TILE):
                    result[j] = activated[j]
