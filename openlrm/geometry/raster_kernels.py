"""A z-buffer by tiles: loops compiled by numba, in float64.

Camera axes are OpenGL's (x right, y up, looking along -z); depth is -z. The pixel (row i, column j) has the ray
d = ((j + .5) / W - cx) / fx, -((i + .5) / H - cy) / fy, -1. A ray meets the triangle p0 p1 p2 where d . (p1 x p2),
d . (p2 x p0) and d . (p0 x p1) have one sign; divided by their sum they are its perspective-correct barycentrics (Olano
and Greer, 1997). So nothing is clipped, and triangles that share an edge leave no gap.
"""

import math

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled

TILE = 32


@compiled()
def project(vertices, w2c, lens, points, screen):
    """Vertices in the camera's axes, and on the picture.

    Args:
        vertices: (V, 3).
        w2c: (3, 4) float64.
        lens: (4,) float64, focal lengths and principal point in pixels: fx W, fy H, cx W, cy H.
        points: (V, 3) float64, written.
        screen: (V, 2) float64, written: column and row, pixel centres at .5; sensible in front of the camera only.
    """
    for i in range(len(vertices)):
        for k in range(3):
            points[i, k] = w2c[k, 3]
            for axis in range(3):
                points[i, k] += w2c[k, axis] * vertices[i, axis]
        depth = -points[i, 2]
        depth = depth if depth != 0 else 1e-300
        screen[i, 0] = lens[2] + lens[0] * points[i, 0] / depth
        screen[i, 1] = lens[3] - lens[1] * points[i, 1] / depth


# Of a pixel, for rounding.
_MARGIN = 1e-6


@njit
def _next_pixel(place, size):
    """First pixel of 0..size whose centre is not before a place."""
    return int(min(max(math.ceil(place - 0.5), 0), size))


@compiled()
def bound_faces(faces, points, screen, near, height, width, first, last, bounds):
    """Pixels that faces first..last may cover: (F, 4) int32 columns from, to (excluded), rows from, to."""
    for f in range(first, last):
        a, b, c = faces[f]
        nearest = -max(points[a, 2], points[b, 2], points[c, 2])
        farthest = -min(points[a, 2], points[b, 2], points[c, 2])
        if nearest >= near:
            x, y = screen[:, 0], screen[:, 1]
            bounds[f, 0] = _next_pixel(min(x[a], x[b], x[c]) - _MARGIN, width)
            bounds[f, 1] = _next_pixel(max(x[a], x[b], x[c]) + _MARGIN, width)
            bounds[f, 2] = _next_pixel(min(y[a], y[b], y[c]) - _MARGIN, height)
            bounds[f, 3] = _next_pixel(max(y[a], y[b], y[c]) + _MARGIN, height)
        elif farthest >= near:
            # It passes the camera: its projection has no bounds.
            bounds[f] = 0, width, 0, height
        else:
            bounds[f] = 0


@compiled()
def bin_faces(bounds, height, width, starts):
    """Faces of each tile, ascending: starts (tiles + 1,) int64 is written, the list returned."""
    across = (width + TILE - 1) // TILE
    starts[:] = 0
    for filling in range(2):
        if filling:
            for tile in range(1, len(starts)):
                starts[tile] += starts[tile - 1]
            listed = np.empty(starts[-1], np.int32)
        for f in range(len(bounds)):
            left, right, top, bottom = bounds[f]
            if left >= right or top >= bottom:
                continue
            for row in range(top // TILE, (bottom - 1) // TILE + 1):
                for column in range(left // TILE, (right - 1) // TILE + 1):
                    tile = row * across + column
                    if filling:
                        listed[starts[tile]] = f
                        starts[tile] += 1
                    else:
                        starts[tile + 1] += 1
    # Filling moved each start to the next one's.
    for tile in range(len(starts) - 1, 0, -1):
        starts[tile] = starts[tile - 1]
    starts[0] = 0
    return listed


@njit
def _cross(p, q):
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@compiled()
def fill_tile(tile, faces, points, bounds, listed, starts, lens, near, far, face, depth):
    """Nearest face of each pixel of one tile; of two as near, the first.

    Args:
        tile: number.
        faces: (F, 3).
        points: (V, 3) of `project`.
        bounds: (F, 4) of `bound_faces`.
        listed: of `bin_faces`.
        starts: of `bin_faces`.
        lens: as in `project`.
        near: least depth.
        far: greatest depth.
        face: (H, W) int32, written; -1: none.
        depth: (H, W) float32, written; 0: none.
    """
    height, width = face.shape
    across = (width + TILE - 1) // TILE
    x0, y0 = tile % across * TILE, tile // across * TILE
    x1, y1 = min(x0 + TILE, width), min(y0 + TILE, height)
    nearest = np.full((TILE, TILE), np.inf)
    face[y0:y1, x0:x1] = -1
    for index in range(starts[tile], starts[tile + 1]):
        f = listed[index]
        p, q, r = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        ax, ay, az = _cross(q, r)
        bx, by, bz = _cross(r, p)
        cx, cy, cz = _cross(p, q)
        volume = p[0] * ax + p[1] * ay + p[2] * az
        left, right, top, bottom = bounds[f]
        for i in range(max(top, y0), min(bottom, y1)):
            y = -(i + 0.5 - lens[3]) / lens[1]
            a_row, b_row, c_row = ay * y - az, by * y - bz, cy * y - cz
            for j in range(max(left, x0), min(right, x1)):
                x = (j + 0.5 - lens[2]) / lens[0]
                a, b, c = ax * x + a_row, bx * x + b_row, cx * x + c_row
                if (a >= 0 and b >= 0 and c >= 0) or (a <= 0 and b <= 0 and c <= 0):
                    total = a + b + c
                    if total == 0:
                        continue
                    z = volume / total
                    if near <= z <= far and z < nearest[i - y0, j - x0]:
                        nearest[i - y0, j - x0] = z
                        face[i, j] = f
    for i in range(y0, y1):
        for j in range(x0, x1):
            depth[i, j] = nearest[i - y0, j - x0] if face[i, j] >= 0 else 0.0
