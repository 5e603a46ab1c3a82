"""FlexiCubes' loops, compiled by numba: extraction (which cubes, patches, quads), positions and their gradient.

Grids of points are (X + 1, Y + 1, Z + 1), of cubes (X, Y, Z). Arithmetic is in float64 whatever the arrays are.
"""

import math

import numpy as np
from numba import njit

from openlrm.geometry import cases as tables

# Arrays that a kernel finds as globals are constants of its code.
_PATCH, _TWISTED_FACE, _EDGES, _AROUND = tables.PATCH, tables.TWISTED_FACE, tables.EDGES, tables.EDGES_AROUND
_PATCHES, _PATCH_EDGES, _PATCH_SIZES = tables.PATCHES, tables.PATCH_EDGES, tables.PATCH_SIZES


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit
def _gather(sdf, points, cube, s, p):
    """Distance and place of a cube's corners."""
    rows, depth = sdf.shape[1] - 1, sdf.shape[2] - 1
    x, y, z = cube // (rows * depth), cube // depth % rows, cube % depth
    for i in range(8):
        a, b, c = x + (i & 1), y + (i >> 1 & 1), z + (i >> 2)
        s[i] = sdf[a, b, c]
        for k in range(3):
            p[i, k] = points[a, b, c, k]


@njit
def _place(edges, s, p, row, spread, u, v):
    """Crossings u (12, 3) of a patch's edges and their weighted mean v (3,), both written; returns the sum of weights."""
    total = 0.0
    v[:] = 0.0
    for e in edges:
        a, b = _EDGES[e, 0], _EDGES[e, 1]
        of_a, of_b = (1 + spread * row[12 + a]) * s[a], (1 + spread * row[12 + b]) * s[b]
        share = of_b / (of_b - of_a)
        beta = 1 + spread * row[e]
        total += beta
        for k in range(3):
            u[e, k] = share * p[a, k] + (1 - share) * p[b, k]
            v[k] += beta * u[e, k]
    v /= total
    return total


@njit
def _deviate(edges, s, p, v, away, distances):
    """Unit vectors away (12, 3) and distances (12,) from v to an edge's plain crossing, written; returns their mean."""
    mean = 0.0
    for e in edges:
        a, b = _EDGES[e, 0], _EDGES[e, 1]
        share = s[b] / (s[b] - s[a])
        square = 0.0
        for k in range(3):
            away[e, k] = share * p[a, k] + (1 - share) * p[b, k] - v[k]
            square += away[e, k] ** 2
        distances[e] = math.sqrt(square)
        if square > 0:
            away[e] /= distances[e]
        mean += distances[e]
    return mean / len(edges)


@njit(nogil=True, cache=True)
def place_vertices(sdf, points, cubes, resolved, firsts, terms, first, last, bent, spread, vertices, deviations):
    """Dual vertices of the cubes first..last, and how unevenly far they are from the crossings.

    Args:
        sdf: (X + 1, Y + 1, Z + 1).
        points: (X + 1, Y + 1, Z + 1, 3) places of the grid's points.
        cubes: (N,) of `list_cubes`.
        resolved: (N,) of `list_cubes`.
        firsts: (N + 1,) dual vertices before each cube.
        terms: (N + 1,) crossing edges before each cube.
        first: cube.
        last: one past the last.
        bent: (last - first, 21) tanh of the raw weights of these cubes.
        spread: w; a weight lies in 1 - w .. 1 + w.
        vertices: (D, 3), written.
        deviations: (E,), written: | distance - mean distance of the patch | for each edge of each patch; or empty.
    """
    s, p, u, v = np.empty(8), np.empty((8, 3)), np.empty((12, 3)), np.empty(3)
    away, distances = np.empty((12, 3)), np.empty(12)
    for n in range(first, last):
        _gather(sdf, points, cubes[n], s, p)
        case, start = resolved[n], 0
        for patch in range(_PATCHES[case]):
            edges = _PATCH_EDGES[case, start : start + _PATCH_SIZES[case, patch]]
            _place(edges, s, p, bent[n - first], spread, u, v)
            vertices[firsts[n] + patch] = v
            if len(deviations) > 0:
                mean = _deviate(edges, s, p, v, away, distances)
                for i in range(len(edges)):
                    deviations[terms[n] + start + i] = abs(distances[edges[i]] - mean)
            start += len(edges)


@njit(nogil=True, cache=True)
def place_vertices_gradient(
    sdf, points, cubes, resolved, firsts, terms, first, last, bent, spread, dvertices, ddeviations, dcorners, dweights
):
    """Gradient of `place_vertices`.

    Args:
        sdf: as there, like all up to `spread`.
        points: see above.
        cubes: see above.
        resolved: see above.
        firsts: see above.
        terms: see above.
        first: see above.
        last: see above.
        bent: see above.
        spread: see above.
        dvertices: (D, 3).
        ddeviations: (E,) or empty.
        dcorners: (N, 8, 4) zeros, written: of place and distance of each cube's corners.
        dweights: (N, 21) zeros, written: of the raw weights.
    """
    s, p, u, v = np.empty(8), np.empty((8, 3)), np.empty((12, 3)), np.empty(3)
    away, distances, dv, of_row = np.empty((12, 3)), np.empty(12), np.empty(3), np.empty(21)
    ds, dp = np.empty(8), np.empty((8, 3))
    for n in range(first, last):
        _gather(sdf, points, cubes[n], s, p)
        row = bent[n - first]
        ds[:], dp[:], of_row[:] = 0.0, 0.0, 0.0
        case, start = resolved[n], 0
        for patch in range(_PATCHES[case]):
            edges = _PATCH_EDGES[case, start : start + _PATCH_SIZES[case, patch]]
            total = _place(edges, s, p, row, spread, u, v)
            dv[:] = dvertices[firsts[n] + patch]
            if len(ddeviations) > 0:
                mean = _deviate(edges, s, p, v, away, distances)
                of_mean = 0.0
                for i in range(len(edges)):
                    of_mean += ddeviations[terms[n] + start + i] * np.sign(distances[edges[i]] - mean)
                for i in range(len(edges)):
                    e = edges[i]
                    pull = ddeviations[terms[n] + start + i] * np.sign(distances[e] - mean) - of_mean / len(edges)
                    a, b = _EDGES[e, 0], _EDGES[e, 1]
                    share, slope = s[b] / (s[b] - s[a]), 0.0
                    for k in range(3):
                        dz = pull * away[e, k]
                        dv[k] -= dz
                        dp[a, k] += share * dz
                        dp[b, k] += (1 - share) * dz
                        slope += dz * (p[a, k] - p[b, k])
                    slope /= (s[b] - s[a]) ** 2
                    ds[a] += slope * s[b]
                    ds[b] -= slope * s[a]
            for e in edges:
                a, b = _EDGES[e, 0], _EDGES[e, 1]
                alpha_a, alpha_b, beta = 1 + spread * row[12 + a], 1 + spread * row[12 + b], 1 + spread * row[e]
                of_a, of_b = alpha_a * s[a], alpha_b * s[b]
                share, slope = of_b / (of_b - of_a), 0.0
                for k in range(3):
                    of_row[e] += dv[k] * (u[e, k] - v[k]) / total
                    du = dv[k] * beta / total
                    dp[a, k] += share * du
                    dp[b, k] += (1 - share) * du
                    slope += du * (p[a, k] - p[b, k])
                slope /= (of_b - of_a) ** 2
                ds[a] += slope * of_b * alpha_a
                ds[b] -= slope * of_a * alpha_b
                of_row[12 + a] += slope * of_b * s[a]
                of_row[12 + b] -= slope * of_a * s[b]
            start += len(edges)
        dcorners[n, :, :3], dcorners[n, :, 3] = dp, ds
        for i in range(20):
            dweights[n, i] = of_row[i] * spread * (1 - row[i] * row[i])


@njit(nogil=True, cache=True)
def scatter_corners(cubes, dcorners, dsdf, dpoints):
    """Add what corners of cubes were given, (N, 8, 4), to the grid's points: (X + 1, Y + 1, Z + 1) and (..., 3)."""
    rows, depth = dsdf.shape[1] - 1, dsdf.shape[2] - 1
    for n in range(len(cubes)):
        x, y, z = cubes[n] // (rows * depth), cubes[n] // depth % rows, cubes[n] % depth
        for i in range(8):
            a, b, c = x + (i & 1), y + (i >> 1 & 1), z + (i >> 2)
            dsdf[a, b, c] += dcorners[n, i, 3]
            for k in range(3):
                dpoints[a, b, c, k] += dcorners[n, i, k]


_EPSILON = 1e-8


@njit(nogil=True, cache=True)
def place_centres(quads, gammas, vertices, centres):
    """Points between the diagonals' middles, weighted by the products of gammas.

    Args:
        quads: (Q, 4).
        gammas: (D,) of each dual vertex.
        vertices: (D, 3).
        centres: (Q, 3), written.
    """
    for q in range(len(quads)):
        a, b, c, d = quads[q]
        first, second = gammas[a] * gammas[c], gammas[b] * gammas[d]
        for k in range(3):
            middles = first * (vertices[a, k] + vertices[c, k]) + second * (vertices[b, k] + vertices[d, k])
            centres[q, k] = 0.5 * middles / (first + second + _EPSILON)


@njit(nogil=True, cache=True)
def place_centres_gradient(quads, gammas, vertices, dcentres, dvertices, dgammas):
    """Gradient of `place_centres`, added to dvertices (D, 3) and dgammas (D,)."""
    for q in range(len(quads)):
        a, b, c, d = quads[q]
        first, second = gammas[a] * gammas[c], gammas[b] * gammas[d]
        total = first + second + _EPSILON
        of_first, of_second = 0.0, 0.0
        for k in range(3):
            middle, other = (vertices[a, k] + vertices[c, k]) / 2, (vertices[b, k] + vertices[d, k]) / 2
            centre = (first * middle + second * other) / total
            pull = dcentres[q, k] / total
            of_first += pull * (middle - centre)
            of_second += pull * (other - centre)
            dvertices[a, k] += pull * first / 2
            dvertices[c, k] += pull * first / 2
            dvertices[b, k] += pull * second / 2
            dvertices[d, k] += pull * second / 2
        dgammas[a] += of_first * gammas[c]
        dgammas[c] += of_first * gammas[a]
        dgammas[b] += of_second * gammas[d]
        dgammas[d] += of_second * gammas[b]
