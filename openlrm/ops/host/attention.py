"""Attention of one head by compiled loops on numpy arrays (FlashAttention, Dao et al., 2022): nothing of size L x L.

Tiles of 64 queries and 64 keys stay in the L2 cache. Scores are kept times log2(e), so that powers of two are what
is needed.
"""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, LOG2_E, REORDER, f32, power_of_two
from openlrm.ops.host.sizes import GROUP, TILE, WIDTH
from openlrm.ops.host.tiles import aligned, multiply_group, outer_group
from openlrm.utils.compiled import compiled

NONE = f32(-1e30)
"""Score of a key that is not there."""
_MOST = f32(2**20)
"""Sum of a tile's exponentials from which on all are made relative to the tile's largest score."""


@njit(fastmath=EXACT)
def _row_tiles(x, tiles):
    """(L, WIDTH) -> flat tiles of WIDTH rows, padded with zeros."""
    for i in range(len(x)):
        for j in range(WIDTH):
            tiles[i * WIDTH + j] = x[i, j]
    tiles[len(x) * WIDTH :] = f32(0)


@njit(fastmath=EXACT)
def _column_tiles(x, tiles):
    """(L, WIDTH) -> flat tiles (WIDTH features, WIDTH rows), padded with zeros."""
    tiles[len(x) // WIDTH * TILE :] = f32(0)
    for i in range(len(x)):
        tile = tiles[i // WIDTH * TILE :]
        for j in range(WIDTH):
            tile[j * WIDTH + i % WIDTH] = x[i, j]


@njit(fastmath=REORDER)
def _multiply_tile(rows, weight, out):
    """Out = rows times weight, all (WIDTH, WIDTH)."""
    out[:] = f32(0)
    _add_product(rows, weight, out)


@njit(fastmath=REORDER)
def _add_product(rows, weight, out):
    group = GROUP * WIDTH
    for p in range(0, TILE, group):
        multiply_group(rows[p : p + group], weight, out[p : p + group])


@njit(fastmath=REORDER)
def _add_outer(rows, other, out):
    group = GROUP * WIDTH
    for p in range(0, TILE, group):
        outer_group(rows[p : p + group], other[p : p + group], out)


@njit(fastmath=REORDER)
def _powers(row, shift, out):
    """Out = 2^(row - shift), at most 2^100; returns their sum."""
    total = f32(0)
    for j in range(WIDTH):
        power = power_of_two(min(row[j] - shift, f32(100)))
        out[j] = power
        total += power
    return total


@njit(fastmath=REORDER)
def _sum_of_products(row, other):
    total = f32(0)
    for j in range(WIDTH):
        total += row[j] * other[j]
    return total


@njit(fastmath=EXACT)
def add_powers(scores, count, there, weights, shifts, sums, mixed):
    """Take a tile of keys into the softmax of its queries.

    Args:
        scores: flat (WIDTH, WIDTH) times log2(e), changed where no key is.
        count: queries that are there.
        there: keys that are there.
        weights: as scores, written: exponentials, relative to the shifts.
        shifts: (WIDTH,), changed.
        sums: (WIDTH,) of the exponentials up to now, changed.
        mixed: flat (WIDTH, WIDTH), values times the exponentials up to now, made relative to the new shifts.
    """
    for i in range(count):
        row, powers = scores[i * WIDTH : (i + 1) * WIDTH], weights[i * WIDTH : (i + 1) * WIDTH]
        row[there:] = NONE
        total = _powers(row, shifts[i], powers)
        if not total <= _MOST:
            top = max(row)
            # What was summed up to now was relative to a smaller score.
            shrink = f32(2) ** (shifts[i] - top)
            shifts[i] = top
            sums[i] *= shrink
            mixed[i * WIDTH : (i + 1) * WIDTH] *= shrink
            total = _powers(row, top, powers)
        sums[i] += total


@njit
def padded(count):
    """Numbers in the tiles of `count` rows."""
    return (count + WIDTH - 1) // WIDTH * TILE


@compiled(fastmath=EXACT)
def attend(q, k, v, scale, first, last, out, logarithms, room):
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
        room: scratch, 2 `padded(Lk)` numbers.
    """
    keys = len(k)
    k_columns, v_rows = room[: padded(keys)], room[padded(keys) :]
    _column_tiles(k, k_columns)
    _row_tiles(v, v_rows)
    scale *= LOG2_E
    queries, scores, weights, mixed = aligned(TILE), aligned(TILE), aligned(TILE), aligned(TILE)
    shifts, sums = np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    for start in range(first, last, WIDTH):
        count = min(WIDTH, last - start)
        for i in range(count):
            for j in range(WIDTH):
                queries[i * WIDTH + j] = q[start + i, j] * scale
        mixed[:], shifts[:], sums[:] = f32(0), NONE, f32(0)
        for tile in range(0, len(k_columns), TILE):
            _multiply_tile(queries, k_columns[tile : tile + TILE], scores)
            there = min(WIDTH, keys - tile // WIDTH)
            add_powers(scores, count, there, weights, shifts, sums, mixed)
            _add_product(weights, v_rows[tile : tile + TILE], mixed)
        for i in range(count):
            logarithms[start + i] = shifts[i] + math.log2(sums[i])
            share = f32(1) / sums[i]
            for j in range(WIDTH):
                out[start + i, j] = mixed[i * WIDTH + j] * share


@compiled(fastmath=EXACT)
def attend_gradient(q, k, v, scale, out, logarithms, dout, dq, dk, dv, room):
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
        room: scratch, 5 `padded(Lk)` + 2 `padded(Lq)` numbers.
    """
    queries, keys = len(q), len(k)
    size, tall = padded(keys), padded(queries)
    k_columns, v_columns, k_rows = room[:size], room[size : 2 * size], room[2 * size : 3 * size]
    dk_rows, dv_rows = room[3 * size : 4 * size], room[4 * size : 5 * size]
    rows, dout_rows = room[5 * size : 5 * size + tall], room[5 * size + tall :]
    dk_rows[:], dv_rows[:] = f32(0), f32(0)
    _column_tiles(k, k_columns)
    _column_tiles(v, v_columns)
    _row_tiles(k, k_rows)
    _row_tiles(dout, dout_rows)
    _row_tiles(out, rows)
    products = np.zeros(len(rows) // WIDTH, f32)
    for i in range(queries):
        products[i] = _sum_of_products(rows[i * WIDTH : (i + 1) * WIDTH], dout_rows[i * WIDTH : (i + 1) * WIDTH])
    query_tile, weights, of_weights, dq_tile = aligned(TILE), aligned(TILE), aligned(TILE), aligned(TILE)
    for start in range(0, queries, WIDTH):
        count = min(WIDTH, queries - start)
        for i in range(WIDTH):
            for j in range(WIDTH):
                query_tile[i * WIDTH + j] = q[start + i, j] * (scale * LOG2_E) if i < count else f32(0)
        of_out = dout_rows[start * WIDTH : start * WIDTH + TILE]
        dq_tile[:] = f32(0)
        for tile in range(0, size, TILE):
            _multiply_tile(query_tile, k_columns[tile : tile + TILE], weights)
            _multiply_tile(of_out, v_columns[tile : tile + TILE], of_weights)
            there = min(WIDTH, keys - tile // WIDTH)
            for i in range(WIDTH):
                row, of_row = weights[i * WIDTH : (i + 1) * WIDTH], of_weights[i * WIDTH : (i + 1) * WIDTH]
                if i >= count:
                    row[:], of_row[:] = f32(0), f32(0)
                    continue
                row[there:] = NONE
                product, shift = products[start + i], logarithms[start + i]
                for j in range(WIDTH):
                    row[j] = power_of_two(row[j] - shift)
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
