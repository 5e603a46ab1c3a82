"""Which triangle of an atlas a texel belongs to, and where on the surface it lies: loops compiled by numba."""

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled

f32 = np.float32


@njit
def _toward(px, py, ax, ay, bx, by):
    """Share of b in the point of the segment a-b that is nearest to p, and its squared distance."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    share = f32(0)
    if length > 0:
        share = min(max(((px - ax) * dx + (py - ay) * dy) / length, f32(0)), f32(1))
    ex, ey = px - ax - share * dx, py - ay - share * dy
    return share, ex * ex + ey * ey


@njit
def _nearest(px, py, corners):
    """Barycentric coordinates of a triangle's point that is nearest to p, and its squared distance."""
    ax, ay, bx, by, cx, cy = corners
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if area != 0:
        wa = ((bx - px) * (cy - py) - (cx - px) * (by - py)) / area
        wb = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) / area
        wc = f32(1) - wa - wb
        if wa >= 0 and wb >= 0 and wc >= 0:
            return wa, wb, wc, f32(0)
    share, best = _toward(px, py, ax, ay, bx, by)
    wa, wb, wc = f32(1) - share, share, f32(0)
    share, distance = _toward(px, py, bx, by, cx, cy)
    if distance < best:
        wa, wb, wc, best = f32(0), f32(1) - share, share, distance
    share, distance = _toward(px, py, cx, cy, ax, ay)
    if distance < best:
        wa, wb, wc, best = share, f32(0), f32(1) - share, distance
    return wa, wb, wc, best


@njit
def _corners(uv, face):
    a, b, c = uv[face[0]], uv[face[1]], uv[face[2]]
    return a[0], a[1], b[0], b[1], c[0], c[1]


@compiled()
def claim_texels(uv, faces, margin, owner, distance):
    """Give every texel, by its centre, to the triangle it lies in, or else to the nearest within a margin.

    Args:
        uv: (T, 2) float32, column and row in texels; the first texel's centre is at (0.5, 0.5).
        faces: (F, 3) indices of uv.
        margin: greatest distance in texels.
        owner: (S, S) int32, written where a triangle is near.
        distance: (S, S) float32, squared, infinite at first; written.
    """
    size = len(owner)
    for index in range(len(faces)):
        corners = _corners(uv, faces[index])
        ax, ay, bx, by, cx, cy = corners
        left, right = min(ax, bx, cx) - margin, max(ax, bx, cx) + margin
        top, bottom = min(ay, by, cy) - margin, max(ay, by, cy) + margin
        for row in range(max(int(top), 0), min(int(bottom) + 1, size)):
            for column in range(max(int(left), 0), min(int(right) + 1, size)):
                if distance[row, column] == 0:
                    continue
                _, _, _, found = _nearest(f32(column) + f32(0.5), f32(row) + f32(0.5), corners)
                if found <= margin * margin and found < distance[row, column]:
                    distance[row, column], owner[row, column] = found, index


@compiled()
def place_texels(texels, owner, uv, faces, vertices, points):
    """Find the points of the surface that texels show, or whatever else varies linearly on a face.

    Args:
        texels: (N,) flat indices.
        owner: (S, S) of `claim_texels`.
        uv: as there.
        faces: as there.
        vertices: (T, D) float32, of every row of uv.
        points: (N, D) float32, written.
    """
    size = len(owner)
    for i in range(len(texels)):
        row, column = texels[i] // size, texels[i] % size
        face = faces[owner[row, column]]
        wa, wb, wc, _ = _nearest(f32(column) + f32(0.5), f32(row) + f32(0.5), _corners(uv, face))
        for axis in range(vertices.shape[1]):
            a, b, c = vertices[face[0], axis], vertices[face[1], axis], vertices[face[2], axis]
            points[i, axis] = wa * a + wb * b + wc * c
