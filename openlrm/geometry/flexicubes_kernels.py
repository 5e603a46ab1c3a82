"""Places of FlexiCubes' vertices and their gradient: loops compiled by numba.

Grids of points are (X + 1, Y + 1, Z + 1), of cubes (X, Y, Z). Arithmetic is in float64 whatever the arrays are. The
tables are constants of the compiled code: after a change in `cases.py`, remove numba's cache.
"""

import math

import numpy as np
from numba import njit

from openlrm.geometry import cases as tables
from openlrm.utils.compiled import compiled

_EDGES, _PATCHES = tables.EDGES, tables.PATCHES
_PATCH_EDGES, _PATCH_SIZES = tables.PATCH_EDGES, tables.PATCH_SIZES


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
    """Crossings u (12, 3) of a patch's edges and their weighted mean v (3,), written; returns the sum of weights."""
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


@compiled()
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


@compiled()
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


@compiled()
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


@compiled()
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


@compiled()
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
