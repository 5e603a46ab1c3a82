"""Camera rays and their span in the cube.

Notation of this package: V = N * M views, R rays of a view (region^2), S samples of a ray, t distance along a ray
from the camera centre (the direction has unit length, so t is in world units).
"""

import numpy as np
from mindspore import Tensor, ops

from openlrm.ops import batch_matmul, constant

SPHERE = 3**0.5
"""Radius of the sphere around the cube."""


@constant
def _pixel_centres(height: int, width: int) -> np.ndarray:
    """(2, 1, height * width): row and column of each pixel's centre, rows first."""
    rows_columns = np.stack(np.divmod(np.arange(height * width), width))
    return rows_columns.astype(np.float32)[:, None] + np.float32(0.5)


def generate_rays(
    cameras: Tensor, anchors: Tensor, resolutions: Tensor, region: int | tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """World-space rays through the pixel centres of a region of each view.

    Convention: camera axes are Blender's / OpenGL's (looks along -Z, +Y up). Pixel (row i, column j) of the region
    lies at u = (j + anchor_col + 0.5) / resolution, v = (i + anchor_row + 0.5) / resolution.

    Args:
        cameras: (V, 25), see `openlrm.cameras.Camera.render_record`.
        anchors: (V, 2), row and column in pixels of the region's upper left corner.
        resolutions: (V, 1), side in pixels of the whole image.
        region: height and width in pixels of the region, or its side.

    Returns:
        origins (V, 3) and unit directions (V, pixels of the region, 3), rows first.
    """
    views = cameras.shape[0]
    height, width = (region, region) if isinstance(region, int) else region
    centres = _pixel_centres(height, width)
    u = (centres[1] + anchors[:, 1:2]) / resolutions
    v = (centres[0] + anchors[:, 0:1]) / resolutions
    c2w, matrix = cameras[:, :16].reshape(views, 4, 4), cameras[:, 16:].reshape(views, 3, 3)
    x = (u - matrix[:, :1, 2]) / matrix[:, :1, 0]
    y = (matrix[:, 1:2, 2] - v) / matrix[:, 1:2, 1]
    directions = ops.stack([x, y, -ops.ones_like(x)], axis=-1)
    directions = directions / ops.sqrt((directions * directions).sum(-1, keepdims=True))
    return c2w[:, :3, 3], batch_matmul(transpose_b=True)(directions, c2w[:, :3, :3])


def cube_span(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the cube [-1, 1]^3 (slab method, Kay and Kajiya, 1986).

    Rays that miss get the span of the sphere around the cube as seen from their camera: their samples lie outside the
    cube and weigh nothing, and what they get depends on nothing but themselves.

    Args:
        origins: (V, 3).
        directions: (V, R, 3).

    Returns:
        near and far, each (V, R).
    """
    origins = origins.reshape(-1, 1, 3)
    # A direction parallel to a face would divide by zero; a tiny slope gives the same span.
    safe = ops.where(ops.abs(directions) < 1e-9, ops.full_like(directions, 1e-9), directions)
    a, b = (-1 - origins) / safe, (1 - origins) / safe
    near = ops.minimum(a, b).max(axis=-1)
    far = ops.maximum(a, b).min(axis=-1)
    hit = far > near
    centre = ops.sqrt((origins * origins).sum(axis=-1))
    nearest, farthest = ops.maximum(centre - SPHERE, ops.zeros_like(centre)), centre + SPHERE
    return ops.where(hit, near, nearest), ops.where(hit, far, farthest)
