"""Depth maps of rendered objects, and the points of the surface that they show."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from openlrm.cameras import Camera
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.errors import UserError

DEPTH_UNIT = 8192
"""A depth map stores the distance along the viewing axis times this, 0 where there is nothing."""
_HINT = "render.objaverse maps=[depth] makes them"


def has_depth(source: ObjaverseObject) -> bool:
    """Whether there is a depth map of the first view."""
    return (source.folder / "depth" / f"{source.names[0]}.png").is_file()


def read_depth(source: ObjaverseObject, index: int) -> np.ndarray:
    """Read the depth map of a view.

    The rim of what is hit is left out, a pixel wide: there the depth is of neither the object nor what is behind it.

    Args:
        source: the object.
        index: of the view.

    Returns:
        (H, W) float32, distance along the viewing axis in world units, 0 where nothing is hit.

    Raises:
        UserError: no such view or map, or one that is no 16-bit picture.
    """
    if not 0 <= index < len(source):
        raise UserError(f"no view {index}", source.folder, f"it has {len(source)} views, 0 to {len(source) - 1}")
    file = source.folder / "depth" / f"{source.names[index]}.png"
    try:
        with file.open("rb") as stream:
            picture = Image.open(io.BytesIO(stream.read()))
            if picture.format != "PNG" or picture.mode not in ("I;16", "I;16B", "I"):
                raise UserError("the depth map is no 16-bit PNG", file, _HINT)
            stored = np.asarray(picture).astype(np.float32)
    except FileNotFoundError:
        raise UserError("no depth map", file, _HINT) from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the depth map ({error})", file, _HINT) from error
    return without_rim(stored / np.float32(DEPTH_UNIT))


def without_rim(depth: np.ndarray) -> np.ndarray:
    """Put 0 into the pixels that touch one with 0, corners included: (H, W) -> (H, W)."""
    hole = np.pad(depth == 0, 1)
    rows, columns = depth.shape
    near = np.zeros(depth.shape, bool)
    for down in range(3):
        for across in range(3):
            near |= hole[down : down + rows, across : across + columns]
    return np.where(near, np.float32(0), depth)


def surface_points(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Points of the surface that a depth map shows.

    Args:
        depth: (H, W) distance along the viewing axis in world units, 0 where nothing is hit.
        camera: of batch shape ().

    Returns:
        (P, 3) float64 world.
    """
    rows, columns = np.nonzero(depth)
    height, width = depth.shape
    fx, fy, cx, cy = camera.intrinsics.astype(np.float64)
    x, y = ((columns + 0.5) / width - cx) / fx, -((rows + 0.5) / height - cy) / fy
    directions = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera.rotations.astype(np.float64).T
    return camera.centers + directions * depth[rows, columns, None]


def resize_nearest(depth: np.ndarray, size: int) -> np.ndarray:
    """The numbers of (H, W) at (size, size) places, none mixed: index floor(i * in / out)."""
    rows, columns = (np.arange(size) * side // size for side in depth.shape)
    return depth[rows[:, None], columns[None]]
