"""Loops over a grid's signs, compiled by numba: which cubes the surface crosses, and the quads that join them.

Grids of points are (X + 1, Y + 1, Z + 1), of cubes (X, Y, Z). The tables are constants of the compiled code: after a
change in `cases.py`, remove numba's cache.
"""

import numpy as np

from openlrm.geometry import cases as tables
from openlrm.utils.compiled import compiled

_PATCH, _TWISTED_FACE, _AROUND = tables.PATCH, tables.TWISTED_FACE, tables.EDGES_AROUND


@compiled()
def find_cases(sdf, first, last, cases, counts):
    """Cases of the cubes in slabs first..last of x, 0 where the surface is not; False if a value is not finite.

    Args:
        sdf: (X + 1, Y + 1, Z + 1).
        first: slab.
        last: one past the last.
        cases: (X, Y, Z) uint8, written.
        counts: (X,), written: surface cubes of each slab.
    """
    finite = True
    for x in range(first, last):
        count = 0
        for y in range(cases.shape[1]):
            a, b, c, d = sdf[x, y], sdf[x + 1, y], sdf[x, y + 1], sdf[x + 1, y + 1]
            # A difference of infinities is not a number either.
            total = (a[0] - a[0]) + (b[0] - b[0]) + (c[0] - c[0]) + (d[0] - d[0])
            low = (a[0] < 0) | (b[0] < 0) << 1 | (c[0] < 0) << 2 | (d[0] < 0) << 3
            for z in range(cases.shape[2]):
                total += (a[z + 1] - a[z + 1]) + (b[z + 1] - b[z + 1])
                total += (c[z + 1] - c[z + 1]) + (d[z + 1] - d[z + 1])
                high = (a[z + 1] < 0) | (b[z + 1] < 0) << 1 | (c[z + 1] < 0) << 2 | (d[z + 1] < 0) << 3
                case = low | high << 4
                case = 0 if case == 255 else case
                cases[x, y, z] = case
                count += case != 0
                low = high
            finite &= total == 0
        counts[x] = count
    return finite


@compiled()
def list_cubes(cases, first, last, starts, cubes, resolved):
    """List surface cubes of slabs first..last with the case whose patches they take.

    Args:
        cases: (X, Y, Z) of `find_cases`.
        first: slab.
        last: one past the last.
        starts: (X + 1,) surface cubes before each slab.
        cubes: (N,) int64, written: index (x Y + y) Z + z.
        resolved: (N,) uint8, written.
    """
    size = cases.shape
    for x in range(first, last):
        n = starts[x]
        for y in range(size[1]):
            for z in range(size[2]):
                case = cases[x, y, z]
                if case == 0:
                    continue
                face = _TWISTED_FACE[case]
                if face >= 0:
                    step = 2 * (face & 1) - 1
                    p = x + (step if face >> 1 == 0 else 0)
                    q = y + (step if face >> 1 == 1 else 0)
                    r = z + (step if face >> 1 == 2 else 0)
                    there = 0 <= p < size[0] and 0 <= q < size[1] and 0 <= r < size[2]
                    if there and _TWISTED_FACE[cases[p, q, r]] >= 0:
                        case = np.uint8(255 - case)
                cubes[n], resolved[n] = (x * size[1] + y) * size[2] + z, case
                n += 1


@compiled()
def join_quads(cases, cubes, resolved, firsts, order, quads):
    """Quads around the crossing grid edges that have four cubes, turned outside; returns their number.

    Args:
        cases: (X, Y, Z) of `find_cases`.
        cubes: (N,) of `list_cubes`.
        resolved: (N,) of `list_cubes`.
        firsts: (N + 1,) dual vertices before each cube.
        order: (X Y Z,) int32 scratch, not set.
        quads: (at least Q, 4) int32 dual vertices, written.
    """
    _, rows, depth = cases.shape
    strides = (rows * depth, depth, 1)
    for n in range(len(cubes)):
        order[cubes[n]] = n
    count = 0
    for n in range(len(cubes)):
        cube = cubes[n]
        x, y, z = cube // strides[0], cube // depth % rows, cube % depth
        case = cases[x, y, z]
        for axis in range(3):
            # The edge that leaves the cube's corner 0; the other three cubes at it have smaller indices.
            here, there = case & 1, case >> (1 << axis) & 1
            enough = (axis == 0 or x > 0) and (axis == 1 or y > 0) and (axis == 2 or z > 0)
            if here == there or not enough:
                continue
            slow = strides[1] if axis == 0 else strides[0]
            fast = strides[1] if axis == 2 else strides[2]
            # Edges along y run down.
            outside_first = (there if axis == 1 else here) == 0
            for k in range(4):
                other = order[cube - (slow if k < 2 else 0) - (fast if k % 2 == 0 else 0)]
                place = k if k < 2 else 5 - k
                place = place if outside_first else 3 - place
                quads[count, place] = firsts[other] + _PATCH[resolved[other], _AROUND[axis, k]]
            count += 1
    return count


@compiled()
def split_quads(quads, gammas, faces):
    """Two triangles of each quad along the diagonal with the greater product of gammas.

    Args:
        quads: (Q, 4).
        gammas: (D,) of each dual vertex.
        faces: (2 Q, 3), written.
    """
    for q in range(len(quads)):
        a, b, c, d = quads[q]
        if gammas[a] * gammas[c] > gammas[b] * gammas[d]:
            faces[2 * q], faces[2 * q + 1] = (a, b, c), (a, c, d)
        else:
            faces[2 * q], faces[2 * q + 1] = (a, b, d), (d, b, c)
