"""Points to image coordinates, and pixels to rays: two directions of one formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras.conventions import DEFAULT_INTRINSICS


def project(
    points: ArrayLike, c2w: ArrayLike, intrinsics: ArrayLike = DEFAULT_INTRINSICS
) -> tuple[np.ndarray, np.ndarray]:
    """Where world points appear in an image.

    Convention: u to the right and v down, (0, 0) the upper left corner and (1, 1) the lower right one. Depth
    is the distance along the viewing axis (camera -Z), not along the ray. From the default source camera
    (0.5, 0, 0.25) appears at (0.6875, 0.40625) with depth 2.

    Args:
        points: (..., P, 3) world.
        c2w: (..., 3, 4) or (..., 4, 4).
        intrinsics: (..., 4) normalised fx, fy, cx, cy.

    Returns:
        uv (..., P, 2), NaN for points that are not in front of the camera, and depth (..., P), both float32.
    """
    points, c2w, intrinsics = (np.asarray(array, np.float64) for array in (points, c2w, intrinsics))
    # Row vectors: (p - centre) @ R is R^T applied to each, world to camera.
    x, y, z = np.moveaxis((points - c2w[..., None, :3, 3]) @ c2w[..., :3, :3], -1, 0)
    depth = -z
    fx, fy, cx, cy = (part[..., None] for part in np.moveaxis(intrinsics, -1, 0))
    safe = np.where(depth > 0, depth, np.nan)
    uv = np.stack([cx + fx * x / safe, cy - fy * y / safe], axis=-1)
    return uv.astype(np.float32), depth.astype(np.float32)


def pixel_rays(
    c2w: ArrayLike,
    intrinsics: ArrayLike = DEFAULT_INTRINSICS,
    resolution: ArrayLike = 64,
    anchor: ArrayLike = (0, 0),
    region: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rays through the pixel centres of a square region: the readable twin of the renderer's.

    Convention: pixel (row i, column j) of the region lies at u = (j + anchor_col + 0.5) / resolution and
    v = (i + anchor_row + 0.5) / resolution; its direction in camera axes is
    ((u - cx) / fx, -(v - cy) / fy, -1), rotated to the world and normalised.

    Args:
        c2w: (..., 3, 4) or (..., 4, 4).
        intrinsics: (..., 4) normalised fx, fy, cx, cy.
        resolution: (...) side in pixels of the whole image.
        anchor: (..., 2) row and column in pixels of the region's upper left corner.
        region: side in pixels of the region; None for the whole image (one `resolution` for all).

    Returns:
        origins and unit directions, each (..., region^2, 3) float32, rows first.
    """
    c2w, intrinsics, resolution, anchor = (
        np.asarray(array, np.float64) for array in (c2w, intrinsics, resolution, anchor)
    )
    region = int(resolution) if region is None else region
    rows, columns = np.divmod(np.arange(region * region), region)
    u = (columns + anchor[..., 1:] + 0.5) / resolution[..., None]
    v = (rows + anchor[..., :1] + 0.5) / resolution[..., None]
    fx, fy, cx, cy = (part[..., None] for part in np.moveaxis(intrinsics, -1, 0))
    x, y = np.broadcast_arrays((u - cx) / fx, -(v - cy) / fy)
    directions = np.stack([x, y, -np.ones_like(x)], axis=-1) @ np.swapaxes(c2w[..., :3, :3], -1, -2)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.broadcast_to(c2w[..., None, :3, 3], directions.shape)
    return origins.astype(np.float32), directions.astype(np.float32)
