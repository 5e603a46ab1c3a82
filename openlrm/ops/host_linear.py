"""Matrix products of linear layers by compiled loops on numpy arrays, for widths that are multiples of 64.

BLAS is as fast (numpy's: 197 GFLOP/s on two cores, this: see benchmarks/roofline.md), but its threads and MindSpore's
go on spinning after a product and take the cores from the loops that come next.
"""

import numpy as np
from numba import njit

from openlrm.ops.host_layers import gelu, mean_and_scale
from openlrm.ops.host_tiles import GROUP, WIDTH, f32, multiply_group, outer_group

TILE = WIDTH * WIDTH
_EXACT = {"contract", "nsz"}


@njit(fastmath=_EXACT, nogil=True, cache=True)
def pack(matrix, first, last, tiles):
    """Tiles for columns first..last (multiples of WIDTH): matrix (K, N) -> tiles (N / W, K / W, W in, W out)."""
    inputs = matrix.shape[0] // WIDTH
    for column in range(first // WIDTH, last // WIDTH):
        for place in range(inputs):
            tile = tiles[(column * inputs + place) * TILE : (column * inputs + place + 1) * TILE]
            for i in range(WIDTH):
                row = matrix[place * WIDTH + i]
                for j in range(WIDTH):
                    tile[i * WIDTH + j] = row[column * WIDTH + j]


@njit(fastmath=_EXACT)
def _row_tiles(x, first, last, tiles):
    """Rows first..last, at most WIDTH, of x (P, K) -> K / WIDTH tiles of WIDTH rows, padded with zeros."""
    for i in range(WIDTH):
        for place in range(x.shape[1] // WIDTH):
            target = tiles[place * TILE + i * WIDTH : place * TILE + (i + 1) * WIDTH]
            if first + i < last:
                target[:] = x[first + i, place * WIDTH : (place + 1) * WIDTH]
            else:
                target[:] = f32(0)


@njit(fastmath=_EXACT)
def _normed_tiles(x, first, last, norm, epsilon, tiles):
    """`_row_tiles` of the rows' LayerNorm with gain norm[0] and offset norm[1]."""
    for i in range(WIDTH):
        if first + i >= last:
            mean, scale = f32(0), f32(0)
        else:
            mean, scale = mean_and_scale(x[first + i], epsilon)
        for place in range(x.shape[1] // WIDTH):
            target = tiles[place * TILE + i * WIDTH : place * TILE + (i + 1) * WIDTH]
            if first + i < last:
                row = x[first + i, place * WIDTH : (place + 1) * WIDTH]
                gain = norm[0, place * WIDTH : (place + 1) * WIDTH]
                offset = norm[1, place * WIDTH : (place + 1) * WIDTH]
                for j in range(WIDTH):
                    target[j] = (row[j] - mean) * scale * gain[j] + offset[j]
            else:
                target[:] = f32(0)


@njit(fastmath=_EXACT)
def _multiply_rows(rows, weight, result):
    """Add a column of results (WIDTH, WIDTH): tiles of rows times as many tiles of weights."""
    group = GROUP * WIDTH
    for place in range(0, len(rows), TILE):
        tile = weight[place : place + TILE]
        for p in range(0, TILE, group):
            multiply_group(rows[place + p : place + p + group], tile, result[p : p + group])


@njit(fastmath=_EXACT, nogil=True, cache=True)
def multiply(x, tiles, bias, first, last, out):
    """Rows first..last of out = x times the packed matrix, plus bias (none when empty).

    Rows are copied into tiles, and out of them: rows 2^n numbers apart fall into the same lines of the L1 cache.

    Args:
        x: (P, K), K a multiple of WIDTH.
        tiles: of `pack`, columns of tiles one after another.
        bias: (N,) or empty.
        first: row to begin with.
        last: one past the last row.
        out: (P, N), N a multiple of WIDTH.
    """
    inner = x.shape[1]
    rows, result = np.empty(WIDTH * inner, f32), np.empty(TILE, f32)
    for block in range(first, last, WIDTH):
        end = min(block + WIDTH, last)
        _row_tiles(x, block, end, rows)
        for column in range(0, out.shape[1], WIDTH):
            for i in range(WIDTH):
                target = result[i * WIDTH : (i + 1) * WIDTH]
                if len(bias) > 0:
                    target[:] = bias[column : column + WIDTH]
                else:
                    target[:] = f32(0)
            _multiply_rows(rows, tiles[column * inner : (column + WIDTH) * inner], result)
            for i in range(end - block):
                out[block + i, column : column + WIDTH] = result[i * WIDTH : (i + 1) * WIDTH]


@njit(fastmath=_EXACT, nogil=True, cache=True)
def multiply_normed(x, norm, epsilon, tiles, bias, activate, first, last, out):
    """`multiply` of the LayerNorm of x, through a GELU if asked for: neither goes through memory on its way.

    Args:
        x: (P, K).
        norm: (2, K), gain and offset of the LayerNorm.
        epsilon: added to the variance.
        tiles: as for `multiply`.
        bias: (N,) or empty.
        activate: whether the GELU follows.
        first: row to begin with.
        last: one past the last row.
        out: (P, N).
    """
    inner = x.shape[1]
    rows, result = np.empty(WIDTH * inner, f32), np.empty(TILE, f32)
    for block in range(first, last, WIDTH):
        end = min(block + WIDTH, last)
        _normed_tiles(x, block, end, norm, epsilon, rows)
        for column in range(0, out.shape[1], WIDTH):
            for i in range(WIDTH):
                target = result[i * WIDTH : (i + 1) * WIDTH]
                if len(bias) > 0:
                    target[:] = bias[column : column + WIDTH]
                else:
                    target[:] = f32(0)
            _multiply_rows(rows, tiles[column * inner : (column + WIDTH) * inner], result)
            if activate:
                gelu(result, result)
            for i in range(end - block):
                out[block + i, column : column + WIDTH] = result[i * WIDTH : (i + 1) * WIDTH]


@njit(fastmath=_EXACT, nogil=True, cache=True)
def multiply_onto(x, tiles, bias, first, last, out):
    """Add `multiply` of x to rows first..last of out: a residual connection."""
    inner = x.shape[1]
    rows, result = np.empty(WIDTH * inner, f32), np.empty(TILE, f32)
    for block in range(first, last, WIDTH):
        end = min(block + WIDTH, last)
        _row_tiles(x, block, end, rows)
        for column in range(0, out.shape[1], WIDTH):
            result[:] = f32(0)
            for i in range(end - block):
                target = result[i * WIDTH : (i + 1) * WIDTH]
                target[:] = out[block + i, column : column + WIDTH]
                if len(bias) > 0:
                    target += bias[column : column + WIDTH]
            _multiply_rows(rows, tiles[column * inner : (column + WIDTH) * inner], result)
            for i in range(end - block):
                out[block + i, column : column + WIDTH] = result[i * WIDTH : (i + 1) * WIDTH]


@njit(fastmath=_EXACT, nogil=True, cache=True)
def weight_gradient(dout, x, first, last, dweight, dbias):
    """Outputs first..last (multiples of WIDTH) of dweight = dout^T x, and of the sum of dout's rows.

    Args:
        dout: (P, N).
        x: (P, K).
        first: output to begin with.
        last: one past the last output.
        dweight: (N, K), written.
        dbias: (N,), written.
    """
    inner, group = x.shape[1], GROUP * WIDTH
    width = last - first
    rows, of_rows = np.empty(WIDTH * inner, f32), np.empty(WIDTH * width, f32)
    sums = np.zeros(width * inner, f32)
    dbias[first:last] = f32(0)
    for block in range(0, len(x), WIDTH):
        end = min(block + WIDTH, len(x))
        _row_tiles(x, block, end, rows)
        _row_tiles(dout[:, first:last], block, end, of_rows)
        for p in range(block, end):
            for j in range(first, last):
                dbias[j] += dout[p, j]
        for column in range(0, width * WIDTH, TILE):
            for place in range(0, inner * WIDTH, TILE):
                start = column // WIDTH * inner + place
                tile = sums[start : start + TILE]
                for p in range(0, TILE, group):
                    outer_group(of_rows[column + p : column + p + group], rows[place + p : place + p + group], tile)
    for column in range(0, width, WIDTH):
        for place in range(0, inner, WIDTH):
            start = column * inner + place * WIDTH
            for i in range(WIDTH):
                row = dweight[first + column + i, place : place + WIDTH]
                row[:] = sums[start + i * WIDTH : start + (i + 1) * WIDTH]
