"""Normals of vertices, and what varies over faces at pixels, with gradients: loops compiled by numba, in float64."""

import math

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled


@njit
def _cross(p, q):
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@njit
def _less(p, q):
    return p[0] - q[0], p[1] - q[1], p[2] - q[2]


_SHORTEST = 1e-10


@compiled()
def sum_normals(vertices, faces, sums):
    """Sum of the area-weighted normals of each vertex's faces.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        sums: (V, 3) float64 zeros, written.
    """
    for f in range(len(faces)):
        p, q, r = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        normal = _cross(_less(q, p), _less(r, p))
        for corner in range(3):
            for k in range(3):
                sums[faces[f, corner], k] += normal[k]


@compiled()
def normalise(sums, normals):
    """Unit vectors of sums (V, 3) into normals (V, 3); (0, 0, 1) where a sum is shorter than 1e-10."""
    for i in range(len(sums)):
        length = math.sqrt(sums[i, 0] ** 2 + sums[i, 1] ** 2 + sums[i, 2] ** 2)
        if length < _SHORTEST:
            normals[i, 0], normals[i, 1], normals[i, 2] = 0, 0, 1
        else:
            for k in range(3):
                normals[i, k] = sums[i, k] / length


@compiled()
def normals_gradient(vertices, faces, sums, dnormals, dvertices):
    """Gradient of both: dnormals (V, 3) to dvertices (V, 3), zeros that are added to."""
    dsums = np.zeros(sums.shape)
    for i in range(len(sums)):
        length = math.sqrt(sums[i, 0] ** 2 + sums[i, 1] ** 2 + sums[i, 2] ** 2)
        if length >= _SHORTEST:
            along = 0.0
            for k in range(3):
                along += dnormals[i, k] * sums[i, k] / length
            for k in range(3):
                dsums[i, k] = (dnormals[i, k] - along * sums[i, k] / length) / length
    for f in range(len(faces)):
        a, b, c = faces[f]
        u, v = _less(vertices[b], vertices[a]), _less(vertices[c], vertices[a])
        pull = (dsums[a, 0] + dsums[b, 0] + dsums[c, 0], dsums[a, 1] + dsums[b, 1] + dsums[c, 1],
                dsums[a, 2] + dsums[b, 2] + dsums[c, 2])  # fmt: skip
        du, dv = _cross(v, pull), _cross(pull, u)
        for k in range(3):
            dvertices[b, k] += du[k]
            dvertices[c, k] += dv[k]
            dvertices[a, k] -= du[k] + dv[k]


@njit
def _shares(p, q, r, x, y):
    """Barycentrics of the point a ray (x, y, -1) meets, and the sum they were divided by."""
    n, m, o = _cross(q, r), _cross(r, p), _cross(p, q)
    a, b, c = n[0] * x + n[1] * y - n[2], m[0] * x + m[1] * y - m[2], o[0] * x + o[1] * y - o[2]
    total = a + b + c
    return (a / total, b / total, c / total), total


@compiled()
def interpolate(face, points, lens, faces, vertices, attributes, position, depth, varying):
    """Position, depth and attributes of what pixels see.

    Args:
        face: (H, W) int32, -1: none.
        points: (V, 3) vertices in the camera's axes.
        lens: (4,) focal lengths and principal point in pixels.
        faces: (F, 3).
        vertices: (V, 3) in the world.
        attributes: (V, C).
        position: (H, W, 3), written, like the others; zeros where a pixel sees nothing.
        depth: (H, W).
        varying: (H, W, C) attributes.
    """
    for i in range(face.shape[0]):
        y = -(i + 0.5 - lens[3]) / lens[1]
        for j in range(face.shape[1]):
            position[i, j] = 0
            depth[i, j] = 0
            varying[i, j] = 0
            if face[i, j] < 0:
                continue
            x = (j + 0.5 - lens[2]) / lens[0]
            corners = faces[face[i, j]]
            shares, _ = _shares(points[corners[0]], points[corners[1]], points[corners[2]], x, y)
            for corner in range(3):
                v, share = corners[corner], shares[corner]
                for k in range(3):
                    position[i, j, k] += share * vertices[v, k]
                depth[i, j] -= share * points[v, 2]
                for k in range(attributes.shape[1]):
                    varying[i, j, k] += share * attributes[v, k]


@compiled()
def interpolate_gradient(
    face, points, w2c, lens, faces, vertices, attributes, dposition, ddepth, dvarying, dvertices, dattributes
):
    """Gradient of `interpolate`: a position moves along its pixel's ray when the face moves.

    Args:
        face: as there, like `points`, `lens`, `faces`, `vertices` and `attributes`.
        points: see above.
        w2c: (3, 4) world to camera.
        lens: see above.
        faces: see above.
        vertices: see above.
        attributes: see above.
        dposition: (H, W, 3).
        ddepth: (H, W).
        dvarying: (H, W, C).
        dvertices: (V, 3) float64, added to.
        dattributes: (V, C) float64, added to.
    """
    dpoints = np.zeros(points.shape)
    dshares = np.empty(3)
    for i in range(face.shape[0]):
        y = -(i + 0.5 - lens[3]) / lens[1]
        for j in range(face.shape[1]):
            if face[i, j] < 0:
                continue
            x = (j + 0.5 - lens[2]) / lens[0]
            corners = faces[face[i, j]]
            p, q, r = points[corners[0]], points[corners[1]], points[corners[2]]
            shares, total = _shares(p, q, r, x, y)
            mean = 0.0
            for corner in range(3):
                v, share = corners[corner], shares[corner]
                dshare = -ddepth[i, j] * points[v, 2]
                dpoints[v, 2] -= share * ddepth[i, j]
                for k in range(3):
                    dshare += dposition[i, j, k] * vertices[v, k]
                    dvertices[v, k] += share * dposition[i, j, k]
                for k in range(attributes.shape[1]):
                    dshare += dvarying[i, j, k] * attributes[v, k]
                    dattributes[v, k] += share * dvarying[i, j, k]
                dshares[corner] = dshare
                mean += share * dshare
            for corner in range(3):
                # The share is ray . (following x last) / total.
                scale = (dshares[corner] - mean) / total
                ray = (scale * x, scale * y, -scale)
                following, last = corners[(corner + 1) % 3], corners[(corner + 2) % 3]
                of_following, of_last = _cross(points[last], ray), _cross(ray, points[following])
                for k in range(3):
                    dpoints[following, k] += of_following[k]
                    dpoints[last, k] += of_last[k]
    turn_back(dpoints, w2c, dvertices)


@compiled()
def finish_normals(face, normals, out):
    """Normals at pixels as colours.

    Args:
        face: (H, W), -1: none.
        normals: (H, W, 3) of any length.
        out: (3, H, W), written: -1..1 as 0..1; 0 where a pixel sees nothing.
    """
    for i in range(face.shape[0]):
        for j in range(face.shape[1]):
            x, y, z = normals[i, j, 0], normals[i, j, 1], normals[i, j, 2]
            length = max(math.sqrt(x * x + y * y + z * z), _SHORTEST)
            seen = face[i, j] >= 0
            out[0, i, j] = (x / length + 1) / 2 if seen else 0
            out[1, i, j] = (y / length + 1) / 2 if seen else 0
            out[2, i, j] = (z / length + 1) / 2 if seen else 0


@compiled()
def finish_normals_gradient(face, normals, dout, dnormals):
    """Gradient of `finish_normals`: dout (3, H, W) to dnormals (H, W, 3), written."""
    for i in range(face.shape[0]):
        for j in range(face.shape[1]):
            square, along = 0.0, 0.0
            for k in range(3):
                square += normals[i, j, k] ** 2
                along += normals[i, j, k] * dout[k, i, j]
            length = max(math.sqrt(square), _SHORTEST)
            for k in range(3):
                pull = dout[k, i, j] - along * normals[i, j, k] / (length * length)
                dnormals[i, j, k] = pull / (2 * length) if face[i, j] >= 0 else 0


@compiled()
def turn_back(dpoints, w2c, dvertices):
    """Add a gradient in the camera's axes (V, 3) to one in the world's (V, 3)."""
    for v in range(len(dpoints)):
        for k in range(3):
            for axis in range(3):
                dvertices[v, axis] += w2c[k, axis] * dpoints[v, k]
