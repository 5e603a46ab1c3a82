"""Attention of one head as in `openlrm.ops.host.attention`, its two products in bfloat16; for inference.

Queries, keys, values and exponentials are rounded to bfloat16; scores, sums and the result are float32.
"""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.attention import NONE, add_powers
from openlrm.ops.host.bf16 import COLUMNS, PAIRS, ROWS, add_products, round_row
from openlrm.ops.host.functions import EXACT, LOG2_E, f32
from openlrm.ops.host.sizes import TILE, WIDTH
from openlrm.ops.host.tiles import aligned
from openlrm.utils.compiled import compiled

_HALF_TILE = TILE // 2
"""Pairs in a tile."""


@njit(fastmath=EXACT)
def _pack_keys(k, tiles):
    """(L, WIDTH) -> for each tile of WIDTH rows what `bf16.pack_pairs` makes of it as a weight; padded with zeros."""
    row = np.empty(PAIRS, np.int32)
    tiles[len(k) // WIDTH * _HALF_TILE :] = 0
    for n in range(len(k)):
        start = n // COLUMNS * COLUMNS * PAIRS + n % COLUMNS
        round_row(k[n], row, 0)
        for j in range(PAIRS):
            tiles[start + j * COLUMNS] = row[j]


@njit(fastmath=EXACT)
def _pack_values(v, tiles):
    """The same of each tile's transpose."""
    wide = np.empty(WIDTH, f32)
    tiles[len(v) // WIDTH * _HALF_TILE :] = 0
    for n in range(0, len(v), 2):
        start = n // WIDTH * _HALF_TILE + n % WIDTH // 2 * COLUMNS
        for column in range(0, WIDTH, COLUMNS):
            for j in range(COLUMNS):
                wide[2 * j] = v[n, column + j]
                wide[2 * j + 1] = v[n + 1, column + j] if n + 1 < len(v) else f32(0)
            round_row(wide, tiles, start + column * PAIRS)


@njit(fastmath=EXACT)
def _round_tile(numbers, pairs):
    for i in range(WIDTH):
        round_row(numbers[i * WIDTH : (i + 1) * WIDTH], pairs, i * PAIRS)


@njit(fastmath=EXACT)
def _add_tile(rows, weights, tile, out):
    """Add rows times the packed tile that begins at `tile` to out (WIDTH, WIDTH)."""
    for column in range(0, WIDTH, COLUMNS):
        for i in range(0, WIDTH, ROWS):
            add_products(rows, i * PAIRS, 1, weights, tile + column * PAIRS, out, i * WIDTH + column)


@compiled(fastmath=EXACT)
def attend_pairs(q, k, v, scale, first, last, out, logarithms, room):
    """`openlrm.ops.host.attention.attend`; `room` is int32, `padded(Lk)` numbers."""
    keys, half = len(k), len(room) // 2
    k_tiles, v_tiles = room[:half], room[half:]
    _pack_keys(k, k_tiles)
    _pack_values(v, v_tiles)
    scale *= LOG2_E
    queries, scores, weights, mixed = aligned(TILE), aligned(TILE), aligned(TILE), aligned(TILE)
    rows, rounded = np.empty(_HALF_TILE, np.int32), np.empty(_HALF_TILE, np.int32)
    shifts, sums = np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    for start in range(first, last, WIDTH):
        count = min(WIDTH, last - start)
        for i in range(count):
            for j in range(WIDTH):
                queries[i * WIDTH + j] = q[start + i, j] * scale
        _round_tile(queries, rows)
        mixed[:], shifts[:], sums[:] = f32(0), NONE, f32(0)
        for tile in range(0, half, _HALF_TILE):
            scores[:] = f32(0)
            _add_tile(rows, k_tiles, tile, scores)
            there = min(WIDTH, keys - tile // PAIRS)
            add_powers(scores, count, there, weights, shifts, sums, mixed)
            _round_tile(weights, rounded)
            _add_tile(rounded, v_tiles, tile, mixed)
        for i in range(count):
            logarithms[start + i] = shifts[i] + math.log2(sums[i])
            share = f32(1) / sums[i]
            for j in range(WIDTH):
                out[start + i, j] = mixed[i * WIDTH + j] * share
