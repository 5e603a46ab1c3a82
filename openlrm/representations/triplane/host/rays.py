"""Compiled loops from a camera to rays: directions of pixels, and where they are in the cube."""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, f32

SPHERE = f32(3**0.5)
"""Radius of the sphere around the cube."""


@njit(fastmath=EXACT)
def pixel_direction(c2w, intrinsics, row, column, size):
    """Unit direction in world axes of the ray through a pixel's centre, of a camera (3, 4) with fx, fy, cx, cy."""
    fx, fy, cx, cy = intrinsics
    u, v = (f32(column) + f32(0.5)) / f32(size), (f32(row) + f32(0.5)) / f32(size)
    x, y, z = (u - cx) / fx, (cy - v) / fy, f32(-1)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    return (
        c2w[0, 0] * x + c2w[0, 1] * y + c2w[0, 2] * z,
        c2w[1, 0] * x + c2w[1, 1] * y + c2w[1, 2] * z,
        c2w[2, 0] * x + c2w[2, 1] * y + c2w[2, 2] * z,
    )


@njit(fastmath=EXACT)
def cube_span(origin, direction):
    """Where a ray enters and leaves the cube, or the sphere around it as seen from its origin when it misses."""
    near, far, squares = f32(-np.inf), f32(np.inf), f32(0)
    for axis in range(3):
        slope = direction[axis]
        if abs(slope) < f32(1e-9):
            slope = f32(1e-9)
        a, b = (f32(-1) - origin[axis]) / slope, (f32(1) - origin[axis]) / slope
        near, far = max(near, min(a, b)), min(far, max(a, b))
        squares += origin[axis] * origin[axis]
    if far > near:
        return near, far
    centre = math.sqrt(squares)
    return max(centre - SPHERE, f32(0)), centre + SPHERE
