"""Gaussians in the order of their depth, and the rows of tiles they reach."""

import numpy as np

from openlrm.ops.host.splatting_project import BOTTOM, LEFT, RIGHT, TOP
from openlrm.utils.compiled import compiled

TILE = 16
"""Side of a tile, pixels."""

_BITS, _PASSES = 11, 3
_INFINITY = 0x7F800000


@compiled()
def sort_by_depth(bits):
    """Indices of finite depths, the smallest first, equal ones in their order: a stable radix sort.

    Args:
        bits: (N,) uint32, of positive float32 numbers, whose order is that of their bits.

    Returns:
        (M,) int32.
    """
    count = 0
    order, other = np.empty(len(bits), np.int32), np.empty(len(bits), np.int32)
    for i in range(len(bits)):
        if bits[i] < _INFINITY:
            order[count] = i
            count += 1
    starts = np.empty((1 << _BITS) + 1, np.int64)
    for step in range(_PASSES):
        shift = step * _BITS
        starts[:] = 0
        for j in range(count):
            starts[((bits[order[j]] >> shift) & ((1 << _BITS) - 1)) + 1] += 1
        for j in range(1 << _BITS):
            starts[j + 1] += starts[j]
        for j in range(count):
            i = order[j]
            digit = (bits[i] >> shift) & ((1 << _BITS) - 1)
            other[starts[digit]] = i
            starts[digit] += 1
        order, other = other, order
    return order[:count]


@compiled()
def list_rows(records, rows):
    """For each row of tiles the Gaussians that reach it, in their order.

    Args:
        records: (M, RECORD), sorted.
        rows: R.

    Returns:
        starts (R + 1,) int64 and entries (E,) int32: row r has entries[starts[r] : starts[r + 1]].
    """
    starts = np.zeros(rows + 2, np.int64)
    for k in range(len(records)):
        for row in range(int(records[k, TOP]) // TILE, int(records[k, BOTTOM]) // TILE + 1):
            starts[row + 2] += 1
    for row in range(rows):
        starts[row + 2] += starts[row + 1]
    # starts[row + 1] moves from the row's first entry to its end.
    entries = np.empty(starts[rows + 1], np.int32)
    for k in range(len(records)):
        for row in range(int(records[k, TOP]) // TILE, int(records[k, BOTTOM]) // TILE + 1):
            entries[starts[row + 1]] = k
            starts[row + 1] += 1
    return starts[: rows + 1], entries


@compiled()
def list_columns(records, entries, columns):
    """For each tile of a row the Gaussians that reach it, in their order.

    Args:
        records: (M, RECORD), sorted.
        entries: (E,) int32, those that reach the row.
        columns: C.

    Returns:
        starts (C + 1,) int64 and places (P,) int32 in `entries`: tile c has places[starts[c] : starts[c + 1]].
    """
    starts = np.zeros(columns + 2, np.int64)
    for e in range(len(entries)):
        g = records[entries[e]]
        for column in range(int(g[LEFT]) // TILE, int(g[RIGHT]) // TILE + 1):
            starts[column + 2] += 1
    for column in range(columns):
        starts[column + 2] += starts[column + 1]
    places = np.empty(starts[columns + 1], np.int32)
    for e in range(len(entries)):
        g = records[entries[e]]
        for column in range(int(g[LEFT]) // TILE, int(g[RIGHT]) // TILE + 1):
            places[starts[column + 1]] = e
            starts[column + 1] += 1
    return starts[: columns + 1], places
