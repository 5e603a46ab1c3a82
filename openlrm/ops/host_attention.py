"""Attention of one head by compiled loops on numpy arrays (FlashAttention, Dao et al., 2022): nothing of size L x L.

Tiles of 64 queries and 64 keys stay in the L2 cache. Scores are kept times log2(e), so that powers of two are what
is needed.
"""

import math

import numpy as np
from numba import njit

from openlrm.ops.host_tiles import GROUP, LOG2_E, WIDTH, multiply_group, outer_group, power_of_two

f32 = np.float32
TILE = WIDTH * WIDTH
_NONE = f32(-1e30)
"""Score of a key that is not there."""
_SLACK = f32(16)
"""How far scores may exceed those seen before until sums are made relative to the new ones: 2^16 is small enough."""

_EXACT = {"contract", "nsz"}
_REORDER = _EXACT | {"reassoc"}


@njit(fastmath=_EXACT)
def _row_tiles(x, tiles):
    """(L, WIDTH) -> flat tiles of WIDTH rows, padded with zeros."""
    for i in range(len(x)):
        for j in range(WIDTH):
            tiles[i * WIDTH + j] = x[i, j]
    tiles[len(x) * WIDTH :] = f32(0)


@njit(fastmath=_EXACT)
def _column_tiles(x, tiles):
    """(L, WIDTH) -> flat tiles (WIDTH features, WIDTH rows), padded with zeros."""
    tiles[len(x) // WIDTH * TILE :] = f32(0)
    for i in range(len(x)):
        tile = tiles[i // WIDTH * TILE :]
        for j in range(WIDTH):
            tile[j * WIDTH + i % WIDTH] = x[i, j]


@njit(fastmath=_REORDER)
def _multiply_tile(rows, weight, out):
    """Out = rows times weight, all (WIDTH, WIDTH)."""
    out[:] = f32(0)
    _add_product(rows, weight, out)


@njit(fastmath=_REORDER)
def _add_product(rows, weight, out):
    group = GROUP * WIDTH
    for p in range(0, TILE, group):
        multiply_group(rows[p : p + group], weight, out[p : p + group])


@njit(fastmath=_REORDER)
def _add_outer(rows, other, out):
    group = GROUP * WIDTH
    for p in range(0, TILE, group):
        outer_group(rows[p : p + group], other[p : p + group], out)


@njit(fastmath=_EXACT)
def _exceeds(row, limit):
    """Whether a number of the row is above the limit; counted lane by lane, which vectorises. A NaN is not."""
    above = 0
    for j in range(16):
        above += max(max(row[j], row[j + 16]), max(row[j + 32], row[j + 48])) > limit
    return above > 0


@njit(fastmath=_EXACT)
def _add_lanes(row, lanes):
    """Add a row to 16 running sums."""
    for j in range(16):
        lanes[j] += (row[j] + row[j + 16]) + (row[j + 32] + row[j + 48])


@njit(fastmath=_REORDER)
def _sum_of_products(row, other):
    total = f32(0)
    for j in range(WIDTH):
        total += row[j] * other[j]
    return total


@njit
def _padded(count):
    return (count + WIDTH - 1) // WIDTH * TILE


@njit(fastmath=_EXACT, nogil=True, cache=True)
def attend(q, k, v, scale, first, last, out, logarithms):
    """Softmax(Q K^T) V of one head for the queries first..last.

    Args:
        q: (Lq, WIDTH) queries.
        k: (Lk, WIDTH) keys.
        v: (Lk, WIDTH) values.
        scale: of the scores.
        first: a multiple of WIDTH.
        last: one past the last query.
        out: (Lq, WIDTH), written.
        logarithms: (Lq,), written: log2 of the sum of the exponentials of a query's scores.
    """
    keys = len(k)
    k_columns, v_rows = np.empty(_padded(keys), f32), np.empty(_padded(keys), f32)
    _column_tiles(k, k_columns)
    _row_tiles(v, v_rows)
    scale *= LOG2_E
    queries, scores, mixed = np.zeros(TILE, f32), np.empty(TILE, f32), np.empty(TILE, f32)
    shifts, sums = np.empty(WIDTH, f32), np.empty(WIDTH * 16, f32)
    bits = np.empty(WIDTH, np.int32)
    powers = bits.view(np.float32)
    for start in range(first, last, WIDTH):
        count = min(WIDTH, last - start)
        for i in range(count):
            for j in range(WIDTH):
                queries[i * WIDTH + j] = q[start + i, j] * scale
        mixed[:], shifts[:], sums[:] = f32(0), _NONE, f32(0)
        for tile in range(0, len(k_columns), TILE):
            _multiply_tile(queries, k_columns[tile : tile + TILE], scores)
            there = min(WIDTH, keys - tile // WIDTH)
            for i in range(count):
                row = scores[i * WIDTH : (i + 1) * WIDTH]
                row[there:] = _NONE
                lanes = sums[i * 16 : (i + 1) * 16]
                if _exceeds(row, shifts[i] + _SLACK):
                    top = max(row)
                    # What was summed up to now was relative to a smaller score.
                    shrink = f32(2) ** (shifts[i] - top)
                    shifts[i] = top
                    lanes *= shrink
                    mixed[i * WIDTH : (i + 1) * WIDTH] *= shrink
                power_of_two(row, shifts[i], bits, powers)
                _add_lanes(row, lanes)
            _add_product(scores, v_rows[tile : tile + TILE], mixed)
        for i in range(count):
            total = sums[i * 16 : (i + 1) * 16].sum()
            logarithms[start + i] = shifts[i] + math.log2(total)
            share = f32(1) / total
            for j in range(WIDTH):
                out[start + i, j] = mixed[i * WIDTH + j] * share


@njit(fastmath=_EXACT, nogil=True, cache=True)
def attend_gradient(q, k, v, scale, out, logarithms, dout, dq, dk, dv):
    """Gradients of `attend` for one head: dS = P * (dO V^T - rowsum(dO * O)), tile by tile.

    Args:
        q: (Lq, WIDTH) queries.
        k: (Lk, WIDTH).
        v: (Lk, WIDTH).
        scale: of the scores.
        out: (Lq, WIDTH) of `attend`.
        logarithms: (Lq,) of `attend`.
        dout: (Lq, WIDTH).
        dq: (Lq, WIDTH), written.
        dk: (Lk, WIDTH), written.
        dv: (Lk, WIDTH), written.
    """
    queries, keys = len(q), len(k)
    room = _padded(keys)
    k_columns, v_columns = np.empty(room, f32), np.empty(room, f32)
    k_rows, dk_rows, dv_rows = np.empty(room, f32), np.zeros(room, f32), np.zeros(room, f32)
    _column_tiles(k, k_columns)
    _column_tiles(v, v_columns)
    _row_tiles(k, k_rows)
    rows, dout_rows = np.empty(_padded(queries), f32), np.empty(_padded(queries), f32)
    _row_tiles(dout, dout_rows)
    _row_tiles(out, rows)
    products = np.zeros(len(rows) // WIDTH, f32)
    for i in range(queries):
        products[i] = _sum_of_products(rows[i * WIDTH : (i + 1) * WIDTH], dout_rows[i * WIDTH : (i + 1) * WIDTH])
    query_tile, weights, of_weights = np.zeros(TILE, f32), np.empty(TILE, f32), np.empty(TILE, f32)
    dq_tile = np.empty(TILE, f32)
    bits = np.empty(WIDTH, np.int32)
    powers = bits.view(np.float32)
    for start in range(0, queries, WIDTH):
        count = min(WIDTH, queries - start)
        for i in range(WIDTH):
            for j in range(WIDTH):
                query_tile[i * WIDTH + j] = q[start + i, j] * (scale * LOG2_E) if i < count else f32(0)
        of_out = dout_rows[start * WIDTH : start * WIDTH + TILE]
        dq_tile[:] = f32(0)
        for tile in range(0, room, TILE):
            _multiply_tile(query_tile, k_columns[tile : tile + TILE], weights)
            _multiply_tile(of_out, v_columns[tile : tile + TILE], of_weights)
            there = min(WIDTH, keys - tile // WIDTH)
            for i in range(WIDTH):
                row, of_row = weights[i * WIDTH : (i + 1) * WIDTH], of_weights[i * WIDTH : (i + 1) * WIDTH]
                if i >= count:
                    row[:], of_row[:] = f32(0), f32(0)
                    continue
                row[there:] = _NONE
                power_of_two(row, logarithms[start + i], bits, powers)
                product = products[start + i]
                for j in range(WIDTH):
                    of_row[j] = row[j] * (of_row[j] - product)
            _add_outer(weights, of_out, dv_rows[tile : tile + TILE])
            _add_outer(of_weights, query_tile, dk_rows[tile : tile + TILE])
            _add_product(of_weights, k_rows[tile : tile + TILE], dq_tile)
        for i in range(count):
            for j in range(WIDTH):
                dq[start + i, j] = dq_tile[i * WIDTH + j] * scale
    # The queries carried log2(e).
    for i in range(keys):
        for j in range(WIDTH):
            dk[i, j] = dk_rows[i * WIDTH + j] / LOG2_E
            dv[i, j] = dv_rows[i * WIDTH + j]
