"""Loops over a sparse grid, compiled by numba: which points are missing, where the surface goes on, its triangles.

Points are counted from OFFSET before the grid's first, so that what lies just outside has a number too; its density is
zero. They are kept in bricks of BRICK^3 points: `table` says which row of `values` is a brick's, or -1. A block is the
cube of `stride` cells a side above its base, a multiple of its stride.

All arrays of points and blocks are (N, 3) int32.
"""

import math

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled

OFFSET = BRICK = 8
PENDING = np.float32(-1)
"""Value of a point that has been listed; NaN is one that has not."""


@njit
def _in_grid(x, y, z, size):
    return min(x, y, z) >= OFFSET and max(x, y, z) < size + OFFSET


@njit
def _clamp(x, step, size):
    """The grid's last point for the first multiple of a step beyond it."""
    last = size + OFFSET - 1
    return last if last < x < last + step else x


@njit
def _at(x, y, z):
    """Place of a point in its brick."""
    return ((x & 7) * BRICK + (y & 7)) * BRICK + (z & 7)


@njit
def _look(table, values, size, x, y, z):
    if not _in_grid(x, y, z, size):
        return np.float32(0)
    brick = table[x >> 3, y >> 3, z >> 3]
    return values[brick, _at(x, y, z)] if brick >= 0 else np.float32(np.nan)


@compiled()
def number_bricks(blocks, stride, table, used):
    """Give a number to every brick that the blocks have points in; return how many have one."""
    for i in range(len(blocks)):
        x, y, z = blocks[i]
        for a in range(x // BRICK, (x + stride) // BRICK + 1):
            for b in range(y // BRICK, (y + stride) // BRICK + 1):
                for c in range(z // BRICK, (z + stride) // BRICK + 1):
                    if table[a, b, c] < 0:
                        table[a, b, c] = used
                        used += 1
    return used


@compiled()
def list_unknown(blocks, stride, size, table, values, points):
    """List the points, half a stride apart, that blocks lack; return their number."""
    count, step = 0, stride // 2
    for i in range(len(blocks)):
        for a in range(3):
            for b in range(3):
                for c in range(3):
                    x = _clamp(blocks[i, 0] + a * step, step, size)
                    y = _clamp(blocks[i, 1] + b * step, step, size)
                    z = _clamp(blocks[i, 2] + c * step, step, size)
                    if not _in_grid(x, y, z, size):
                        continue
                    brick, at = table[x >> 3, y >> 3, z >> 3], _at(x, y, z)
                    if math.isnan(values[brick, at]):
                        values[brick, at] = PENDING
                        points[count, 0], points[count, 1], points[count, 2] = x, y, z
                        count += 1
    return count


@compiled()
def store(points, found, table, values):
    """Keep the density `found` at points."""
    for i in range(len(points)):
        x, y, z = points[i]
        values[table[x >> 3, y >> 3, z >> 3], _at(x, y, z)] = found[i]


@njit
def _raw(density, floor):
    """Inverse of softplus."""
    density = max(density, floor)
    return density + math.log(-math.expm1(-density))


@compiled()
def divide(blocks, stride, size, table, values, threshold, margin, floor, halves):
    """List the halves of blocks (8 of each) that the field may cross the threshold in; return their number.

    Judged by the eight corners of a half, and a margin: this part of the range of all points around it that are known,
    half a stride apart.
    """
    count, step, level = 0, stride // 2, _raw(threshold, floor)
    around = np.empty((5, 5, 5), np.float32)
    for i in range(len(blocks)):
        for a in range(5):
            for b in range(5):
                for c in range(5):
                    x = _clamp(blocks[i, 0] + (a - 1) * step, step, size)
                    y = _clamp(blocks[i, 1] + (b - 1) * step, step, size)
                    z = _clamp(blocks[i, 2] + (c - 1) * step, step, size)
                    around[a, b, c] = _look(table, values, size, x, y, z) if _in_grid(x, y, z, size) else np.nan
        for half in range(8):
            a0, b0, c0 = half >> 2, (half >> 1) & 1, half & 1
            lowest, highest, low, high = np.inf, -np.inf, np.inf, -np.inf
            for a in range(a0, a0 + 4):
                for b in range(b0, b0 + 4):
                    for c in range(c0, c0 + 4):
                        value = around[a, b, c]
                        if not math.isnan(value):
                            lowest, highest = min(lowest, value), max(highest, value)
                            if 0 < a - a0 < 3 and 0 < b - b0 < 3 and 0 < c - c0 < 3:
                                low, high = min(low, value), max(high, value)
            if high < 0:
                continue
            x, y, z = blocks[i, 0] + a0 * step, blocks[i, 1] + b0 * step, blocks[i, 2] + c0 * step
            reach = margin * (_raw(highest, floor) - _raw(lowest, floor))
            # A half that sticks out of the grid has no density there.
            sticks_out = not (_in_grid(x, y, z, size) and _in_grid(x + step, y + step, z + step, size))
            if _raw(high, floor) + reach >= level and (sticks_out or _raw(low, floor) - reach <= level):
                halves[count, 0], halves[count, 1], halves[count, 2] = x, y, z
                count += 1
    return count


@compiled()
def find_exits(blocks, size, table, values, threshold, exits):
    """List the blocks beyond those faces of blocks of stride 2 that the surface crosses; return their number."""
    count = 0
    for i in range(len(blocks)):
        for axis in range(3):
            for side in range(2):
                above = 0
                for a in range(3):
                    for b in range(3):
                        x, y, z = blocks[i]
                        if axis == 0:
                            x, y, z = x + 2 * side, y + a, z + b
                        elif axis == 1:
                            x, y, z = x + a, y + 2 * side, z + b
                        else:
                            x, y, z = x + a, y + b, z + 2 * side
                        above += _look(table, values, size, x, y, z) > threshold
                if 0 < above < 9:
                    exits[count] = blocks[i]
                    exits[count, axis] += 4 * side - 2
                    count += 1
    return count


@compiled()
def open_blocks(blocks, table, opened, fresh):
    """List once each of the blocks of stride 2 that was not opened before; return their number."""
    count = 0
    for i in range(len(blocks)):
        x, y, z = blocks[i]
        brick, at = table[x >> 3, y >> 3, z >> 3], _at(x, y, z)
        if not opened[brick, at // 2]:
            opened[brick, at // 2] = True
            fresh[count] = blocks[i]
            count += 1
    return count


@njit
def _gather(block, size, table, values, threshold, cube):
    """Values of a block of stride 2 into `cube` (3, 3, 3); whether the surface crosses it."""
    above = 0
    for a in range(3):
        for b in range(3):
            for c in range(3):
                cube[a, b, c] = _look(table, values, size, block[0] + a, block[1] + b, block[2] + c)
                above += cube[a, b, c] > threshold
    return 0 < above < 27


@njit
def _case(cube, a, b, c, threshold):
    """Which corners of a cell are above: bit 4 x + 2 y + z."""
    found = 0
    for corner in range(8):
        if cube[a + (corner >> 2), b + ((corner >> 1) & 1), c + (corner & 1)] > threshold:
            found |= 1 << corner
    return found


@compiled()
def count_triangles(blocks, size, table, values, threshold, lengths):
    """Triangles of all blocks of stride 2; lengths (256,) are those of the cases."""
    total = 0
    cube = np.empty((3, 3, 3), np.float32)
    for i in range(len(blocks)):
        if _gather(blocks[i], size, table, values, threshold, cube):
            for cell in range(8):
                total += lengths[_case(cube, cell >> 2, (cell >> 1) & 1, cell & 1, threshold)]
    return total


@compiled()
def march(blocks, size, table, values, threshold, lengths, edges, vertices, faces):
    """Marching cubes over blocks of stride 2.

    Args:
        blocks: as listed.
        size: grid points a side.
        table: of bricks.
        values: of bricks, known at all points of the blocks.
        threshold: of the surface.
        lengths: (256,) triangles of each case.
        edges: (256, 15) the edges their corners lie on, see `openlrm.geometry.marching.cases`.
        vertices: (at least V, 3) float64, written: position in cells from the grid's first point.
        faces: (F, 3) int32, written.

    Returns:
        V.
    """
    capacity = 16
    while capacity < 4 * len(faces):
        capacity *= 2
    # Open addressing: a vertex is found by the grid edge it lies on.
    keys, numbers = np.full(capacity, -1, np.int64), np.empty(capacity, np.int32)
    span = np.int64(size + 2 * OFFSET)
    found, written = 0, 0
    cube = np.empty((3, 3, 3), np.float32)
    for i in range(len(blocks)):
        if not _gather(blocks[i], size, table, values, threshold, cube):
            continue
        for cell in range(8):
            a, b, c = cell >> 2, (cell >> 1) & 1, cell & 1
            case = _case(cube, a, b, c, threshold)
            for corner in range(3 * lengths[case]):
                edge = edges[case, corner]
                axis, first, second = edge // 4, (edge // 2) % 2, edge % 2
                p, q, r = a, b, c
                if axis == 0:
                    q, r = q + first, r + second
                elif axis == 1:
                    p, r = p + first, r + second
                else:
                    p, q = p + first, q + second
                x, y, z = blocks[i, 0] + p, blocks[i, 1] + q, blocks[i, 2] + r
                key = ((x * span + y) * span + z) * 3 + axis
                slot = (key * 0x9E3779B97F4A7C1 >> 20) & (capacity - 1)
                while keys[slot] >= 0 and keys[slot] != key:
                    slot = (slot + 1) & (capacity - 1)
                if keys[slot] < 0:
                    keys[slot], numbers[slot] = key, found
                    low = np.float64(cube[p, q, r])
                    high = np.float64(cube[p + (axis == 0), q + (axis == 1), r + (axis == 2)])
                    vertices[found, 0], vertices[found, 1], vertices[found, 2] = x - OFFSET, y - OFFSET, z - OFFSET
                    vertices[found, axis] += (threshold - low) / (high - low)
                    found += 1
                faces[written // 3, written % 3] = numbers[slot]
                written += 1
    return found
