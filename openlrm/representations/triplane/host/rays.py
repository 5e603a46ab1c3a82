"""Compiled loops from a camera to rays: directions of pixels, and where they are in the cube."""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, f32
from openlrm.utils.compiled import compiled


@njit(fastmath=EXACT)
def pixel_direction(camera, row, column, size):
    """Unit direction in world axes of the ray through a pixel's centre."""
    u, v = (f32(column) + f32(0.5)) / f32(size), (f32(row) + f32(0.5)) / f32(size)
    x, y, z = (u - camera[18]) / camera[16], (camera[21] - v) / camera[20], f32(-1)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    return (
        camera[0] * x + camera[1] * y + camera[2] * z,
        camera[4] * x + camera[5] * y + camera[6] * z,
        camera[8] * x + camera[9] * y + camera[10] * z,
    )


@njit(fastmath=EXACT)
def cube_span(camera, direction):
    """Where a ray enters and leaves the cube; far <= near when it misses."""
    near, far = f32(-np.inf), f32(np.inf)
    for axis in range(3):
        origin, slope = camera[4 * axis + 3], direction[axis]
        if abs(slope) < f32(1e-9):
            slope = f32(1e-9)
        a, b = (f32(-1) - origin) / slope, (f32(1) - origin) / slope
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@compiled()
def frame_span(camera, size):
    """Nearest entry and farthest exit over the rays of a frame that hit the cube; (1, 2) when none does."""
    nearest, farthest = f32(np.inf), f32(-np.inf)
    for row in range(size):
        for column in range(size):
            near, far = cube_span(camera, pixel_direction(camera, row, column, size))
            if far > near:
                nearest, farthest = min(nearest, near), max(farthest, far)
    if farthest < nearest:
        return f32(1), f32(2)
    return nearest, farthest
