"""3D Gaussians to pictures by compiled loops on numpy arrays, with gradients.

Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering" (2023): centres and covariances are
projected (`splatting_project`), sorted by depth once, listed by tiles that their ellipses' exact boxes reach
(`splatting_sort`) and composited (`splatting_tiles`). A row of tiles is a task for one thread and writes what no other
task writes, so the bits are the same with any number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openlrm.errors import UserError
from openlrm.ops.host import splatting_project as projecting
from openlrm.utils.threads import spread, spread_ranges

# Gaussians of one task: some hundred microseconds.
_TASK = 4096
# What a drawing limits a/z to: this share of the picture beyond its borders.
_MARGIN = 0.15

NAMES = ("means", "scales", "rotations", "opacities", "colors")
WIDTHS = (3, 3, 4, 1, 3)


class Seen(NamedTuple):
    """Gaussians as a camera sees them.

    Attributes:
        records: (M, RECORD) float32 of those that touch the picture, nearest first.
        order: (M,) int32, which Gaussians they are.
        starts: (R + 1,) int64, for each row of tiles the begin of its entries.
        entries: (E,) int32, rows of `records`.
    """

    records: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    entries: np.ndarray


class Drawn(NamedTuple):
    """What the loops leave behind.

    Attributes:
        picture: (4, H, W) float32: red, green, blue and depth, sums of weights, without a background.
        through: (H, W), the light that comes through all.
        last: (H, W), place in the tile's list of the last Gaussian added, from 1.
        pairs: of a pixel and a Gaussian that were gone through.
    """

    picture: np.ndarray
    through: np.ndarray
    last: np.ndarray
    pairs: int


def camera_numbers(c2w: np.ndarray, intrinsics: np.ndarray, height: int, width: int) -> np.ndarray:
    """Flatten a camera for the loops.

    Args:
        c2w: (3, 4) or (4, 4), camera axes right, up, backward.
        intrinsics: (4,) fx, fy, cx, cy over the picture's width and height.
        height: of the picture, pixels.
        width: likewise.

    Returns:
        (CAMERA,) float64.

    Raises:
        UserError: the pose cannot be inverted, or a number is not finite or a focal length not positive.
    """
    c2w, intrinsics = np.asarray(c2w, np.float64), np.asarray(intrinsics, np.float64)
    if not (np.isfinite(c2w).all() and np.isfinite(intrinsics).all()):
        raise UserError("a camera with numbers that are not finite", hint="check poses and intrinsics")
    if not (intrinsics[:2] > 0).all():
        raise UserError(f"focal lengths {intrinsics[:2].tolist()} are not positive", hint="check the intrinsics")
    if abs(np.linalg.det(c2w[:3, :3])) < 1e-12:
        raise UserError("a camera-to-world matrix that cannot be inverted", hint="check the poses")
    rotation = np.linalg.inv(c2w[:3, :3])
    matrix = np.concatenate([rotation, -rotation @ c2w[:3, 3:]], axis=1) * [[1], [-1], [-1]]
    fx, fy, cx, cy = intrinsics * [width, height, width, height]
    wide, high = _MARGIN * width, _MARGIN * height
    limits = (-cx - wide) / fx, (width - cx + wide) / fx, (-cy - high) / fy, (height - cy + high) / fy
    return np.array([*matrix.reshape(-1), fx, fy, cx, cy, *limits])


def look(arrays: tuple[np.ndarray, ...], camera: np.ndarray, height: int, width: int) -> Seen:
    """Project, sort and list Gaussians.

    Args:
        arrays: means, scales, rotations, opacities, colors, (N, 3 3 4 1 3) float32.
        camera: of `camera_numbers`.
        height: of the picture, pixels.
        width: likewise.

    Raises:
        UserError: a number is not finite; it names the Gaussian.
    """
    from openlrm.ops.host.splatting_sort import TILE, list_rows, sort_by_depth

    check_finite(arrays)
    count = len(arrays[0])
    records, depths = np.empty((count, projecting.RECORD), np.float32), np.empty(count, np.float32)

    def work(first: int, last: int) -> None:
        projecting.project(arrays, camera, width, height, first, last, records, depths)

    spread_ranges(work, count, _TASK)
    order = sort_by_depth(depths.view(np.uint32))
    records = records[order]
    return Seen(records, order, *list_rows(records, -(-height // TILE)))


def draw(seen: Seen, height: int, width: int) -> Drawn:
    """Composite what a camera sees."""
    from openlrm.ops.host.splatting_tiles import shade_row

    picture, rows = np.empty((4, height, width), np.float32), len(seen.starts) - 1
    through, last = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    pairs = np.zeros(rows, np.int64)

    def work(row: int) -> None:
        entries = seen.entries[seen.starts[row] : seen.starts[row + 1]]
        pairs[row] = shade_row(seen.records, entries, row, picture, through, last)

    spread(work, rows)
    return Drawn(picture, through, last, int(pairs.sum()))


def draw_gradient(
    arrays: tuple[np.ndarray, ...],
    camera: np.ndarray,
    seen: Seen,
    through: np.ndarray,
    last: np.ndarray,
    dpicture: np.ndarray,
    dthrough: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Gradients of means, scales, rotations, opacities and colors; zero for those that are not seen.

    Args:
        arrays: as given to `look`.
        camera: likewise.
        seen: what it returned.
        through: what `draw` returned.
        last: likewise.
        dpicture: (4, H, W) float32, gradient of red, green, blue and depth.
        dthrough: (H, W), gradient of the light that comes through all.

    Returns:
        Arrays shaped as `arrays`.
    """
    from openlrm.ops.host.splatting_tiles import add_rows, shade_row_gradient

    sums = np.zeros((len(seen.entries), projecting.SUMS), np.float32)
    behind = through * dthrough

    def walk(row: int) -> None:
        part = slice(seen.starts[row], seen.starts[row + 1])
        shade_row_gradient(seen.records, seen.entries[part], row, through, last, dpicture, behind, sums[part])

    spread(walk, len(seen.starts) - 1)
    totals = np.zeros((len(seen.order), projecting.SUMS))
    add_rows(seen.entries, sums, totals)
    gradients = tuple(np.zeros_like(array) for array in arrays)

    def work(first: int, end: int) -> None:
        projecting.project_gradient(arrays, camera, seen.order, totals, first, end, gradients)

    spread_ranges(work, len(seen.order), _TASK)
    return gradients


def check_finite(arrays: tuple[np.ndarray, ...]) -> None:
    """Refuse Gaussians with a number that is not finite.

    Raises:
        UserError: names the first one and the array.
    """
    for name, array in zip(NAMES, arrays, strict=True):
        if not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
            raise UserError(
                f"{name} of Gaussian {bad[0]} are {array[bad[0]].tolist()}, {len(bad)} of {len(array)} are not finite",
                hint="leave them out, or find the step that made them",
            )


def render(
    means: np.ndarray,
    scales: np.ndarray,
    rotations: np.ndarray,
    opacities: np.ndarray,
    colors: np.ndarray,
    c2w: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of Gaussians, without gradients and without a framework.

    Args:
        means: (N, 3) world positions.
        scales: (N, 3) standard deviations along the axes.
        rotations: (N, 4) unit quaternions w, x, y, z.
        opacities: (N, 1) in [0, 1].
        colors: (N, 3), in [0, 1] for pictures.
        c2w: (3, 4) or (4, 4) camera-to-world, axes right, up, backward.
        intrinsics: (4,) fx, fy, cx, cy over the picture's width and height.
        size: (H, W) pixels.
        background: colour behind all.

    Returns:
        rgb (3, H, W) in [0, 1], depth (1, H, W) as the sum of weights times depths, alpha (1, H, W).

    Raises:
        UserError: a Gaussian's number or the camera is not usable.
    """
    arrays = as_arrays(means, scales, rotations, opacities, colors)
    height, width = size
    seen = look(arrays, camera_numbers(c2w, intrinsics, height, width), height, width)
    drawn = draw(seen, height, width)
    rgb = drawn.picture[:3] + drawn.through * np.asarray(background, np.float32).reshape(3, 1, 1)
    return np.clip(rgb, 0, 1), drawn.picture[3:], 1 - drawn.through[None]


def as_arrays(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Contiguous float32 arrays of means, scales, rotations, opacities and colors.

    Raises:
        UserError: a shape is another.
    """
    arrays = tuple(np.ascontiguousarray(array, np.float32) for array in arrays)
    for name, width, array in zip(NAMES, WIDTHS, arrays, strict=True):
        if array.shape != (len(arrays[0]), width):
            raise UserError(f"{name} of shape {array.shape}, not {(len(arrays[0]), width)}")
    return arrays


def list_tiles(seen: Seen, pad: int, height: int, width: int, length: int | None = None) -> tuple[np.ndarray, int]:
    """Lists of one length for every tile, row by row.

    Args:
        seen: of `look`.
        pad: index that fills up.
        height: of the picture, pixels.
        width: likewise.
        length: K; as long as needed, a multiple of 64, without it.

    Returns:
        (T, K) int32 indices of Gaussians, nearest first, and the pairs of a Gaussian and a tile left out.
    """
    from openlrm.ops.host.splatting_sort import TILE, list_columns

    columns, rows = -(-width // TILE), len(seen.starts) - 1
    tiles = []
    for row in range(rows):
        entries = seen.entries[seen.starts[row] : seen.starts[row + 1]]
        starts, places = list_columns(seen.records, entries, columns)
        tiles += [seen.order[entries[places[starts[c] : starts[c + 1]]]] for c in range(columns)]
    longest = max(map(len, tiles))
    length = length or max(64, -(-longest // 64) * 64)
    indices = np.full((len(tiles), length), pad, np.int32)
    for row, tile in zip(indices, tiles, strict=True):
        row[: len(tile)] = tile[:length]
    return indices, sum(max(len(tile) - length, 0) for tile in tiles)
