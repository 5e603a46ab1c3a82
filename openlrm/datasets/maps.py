"""Depth and normal maps of rendered objects, and the points of the surface that they show."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, UnidentifiedImageError

from openlrm.cameras import Camera
from openlrm.datasets.config import DataConfig
from openlrm.datasets.item import Item
from openlrm.datasets.items import TrainItems
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.errors import UserError

DEPTH, NORMAL = "depth", "normal"
"""Names of the maps' folders, and of what `render.objaverse maps=` makes."""
DEPTH_UNIT = 8192
"""A depth map stores the distance along the viewing axis times this, 0 where there is nothing."""
_HINT = "render.objaverse maps=[depth,normal] makes them"


def has_map(source: ObjaverseObject, kind: str) -> bool:
    """Whether there is a map of a kind, `DEPTH` or `NORMAL`, of the first view."""
    return (source.folder / kind / f"{source.names[0]}.png").is_file()


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
    stored = _read(source, index, DEPTH, ("I;16", "I;16B", "I"), "16-bit PNG").astype(np.float32)
    return without_rim(stored / np.float32(DEPTH_UNIT))


def read_normals(source: ObjaverseObject, index: int) -> np.ndarray:
    """Read the normal map of a view.

    Args:
        source: the object.
        index: of the view.

    Returns:
        (H, W, 3) float32 unit normals in world axes, 0 where nothing is hit.

    Raises:
        UserError: no such view or map, or one that is no RGBA picture.
    """
    stored = _read(source, index, NORMAL, ("RGBA",), "RGBA PNG").astype(np.float32)
    normals = stored[..., :3] / np.float32(127.5) - 1
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where((stored[..., 3:] > 0) & (length > 0.5), normals / np.maximum(length, 0.5), np.float32(0))


def _read(source: ObjaverseObject, index: int, kind: str, modes: tuple[str, ...], told: str) -> np.ndarray:
    """Numbers of a map as they are stored."""
    if not 0 <= index < len(source):
        raise UserError(f"no view {index}", source.folder, f"it has {len(source)} views, 0 to {len(source) - 1}")
    file = source.folder / kind / f"{source.names[index]}.png"
    try:
        with file.open("rb") as stream:
            picture = Image.open(io.BytesIO(stream.read()))
            if picture.format != "PNG" or picture.mode not in modes:
                raise UserError(f"the {kind} map is no {told}", file, _HINT)
            return np.asarray(picture)
    except FileNotFoundError:
        raise UserError(f"no {kind} map", file, _HINT) from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the {kind} map ({error})", file, _HINT) from error


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
    """The numbers of (H, W, ...) at (size, size) places, none mixed: index floor(i * in / out)."""
    rows, columns = (np.arange(size) * side // size for side in depth.shape[:2])
    return depth[rows[:, None], columns[None]]


def regions_of(item: Item, views: Sequence[int], read: Callable[[int], np.ndarray]) -> np.ndarray:
    """The regions of an item's target views, of maps.

    Args:
        item: says where the regions are, and in pictures of which size.
        views: M indices of the object's views.
        read: index -> map (H, W) or (H, W, C).

    Returns:
        (M, C, R, R), nothing mixed.
    """
    side, region, regions = int(item.sizes[0]), item.images.shape[-1], []
    for view, (row, column) in zip(views, item.anchors.astype(int), strict=True):
        whole = resize_nearest(read(int(view)), side)
        part = whole[row : row + region, column : column + region]
        regions.append(part.reshape(region, region, -1).transpose(2, 0, 1))
    return np.stack(regions)


def ray_lengths(item: Item) -> np.ndarray:
    """Distance along the ray over distance along the viewing axis, (M, 1, R, R), of each pixel of the regions."""
    region = item.images.shape[-1]
    middle = np.arange(region) + 0.5
    rows, columns = ((item.anchors[:, k, None] + middle) / item.sizes[:, None] for k in (0, 1))
    fx, fy, cx, cy = (item.cameras.intrinsics[:, k, None] for k in range(4))
    x, y = ((columns - cx) / fx)[:, None], ((rows - cy) / fy)[..., None]
    return np.sqrt(1 + x**2 + y**2)[:, None].astype(np.float32)


class MapItems(TrainItems):
    """`TrainItems` that carry depth and normals of the target views where the object has maps of them.

    Raises:
        UserError: cameras that are normalised: the maps are in the world that was rendered.
    """

    def __init__(self, config: DataConfig, seed: int, uids: Sequence[str] | None = None, sources: int = 1) -> None:
        if config.normalize_camera:
            raise UserError("depth and normal maps with data.normalize_camera=true", "config", "give false")
        super().__init__(config, seed, uids, sources)

    def _completed(self, item: Item, number: int, source: ObjaverseObject, views: np.ndarray) -> Item:
        depths = normals = None
        if has_map(source, DEPTH):
            depths = regions_of(item, views, lambda view: read_depth(source, view)) * ray_lengths(item)
        if has_map(source, NORMAL):
            normals = regions_of(item, views, lambda view: read_normals(source, view))
        return replace(item, depths=depths, normals=normals)
