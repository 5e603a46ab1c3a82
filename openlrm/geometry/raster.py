"""Which triangle each pixel sees: a z-buffer in compiled loops. This is discrete and has no gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.threads import spread, spread_ranges

NEAR, FAR = 0.1, 1000.0

# Faces of one task of a compiled loop.
_TASK_FACES = 16384


@dataclass(frozen=True, eq=False)
class Visible:
    """What one camera sees of a mesh.

    Attributes:
        w2c: (3, 4) float64 world to camera, OpenGL axes (x right, y up, looking along -z).
        lens: (4,) float64 focal lengths and principal point in pixels.
        points: (V, 3) float64 vertices in the camera's axes.
        screen: (V, 2) float64 their columns and rows, pixel centres at .5; sensible in front of the camera only.
        face: (H, W) int32 nearest face; -1: none.
        depth: (H, W) float32 along the viewing axis; 0: none.
    """

    w2c: np.ndarray
    lens: np.ndarray
    points: np.ndarray
    screen: np.ndarray
    face: np.ndarray
    depth: np.ndarray


def rasterize(
    vertices: np.ndarray,
    faces: np.ndarray,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    near: float = NEAR,
    far: float = FAR,
) -> list[Visible]:
    """Find the nearest face of every pixel, from both sides, for each view.

    Args:
        vertices: (V, 3) in the world.
        faces: (F, 3) indices.
        w2c: (M, 4, 4) or (M, 3, 4) world to camera, OpenGL axes, rotation without scale.
        intrinsics: (4,) or (M, 4): fx, fy, cx, cy divided by the picture's side.
        size: height and width in pixels.
        near: least depth that is seen.
        far: greatest depth that is seen.

    Returns:
        a `Visible` for each view.

    Raises:
        UserError: cameras of another shape, or faces that name vertices which are not there.
    """
    w2c, intrinsics = np.asarray(w2c, np.float64), np.asarray(intrinsics, np.float64)
    if w2c.ndim != 3 or w2c.shape[1:] not in ((4, 4), (3, 4)) or intrinsics.shape not in ((4,), (len(w2c), 4)):
        raise UserError(
            f"cameras {w2c.shape} with intrinsics {intrinsics.shape}", hint="use (M, 4, 4) and (4,) or (M, 4)"
        )
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise UserError(f"faces name vertices {faces.min()} to {faces.max()} of {len(vertices)}")
    faces = np.ascontiguousarray(faces, np.int32)
    height, width = size
    lenses = np.broadcast_to(intrinsics, (len(w2c), 4)) * [width, height, width, height]
    views = [_place(vertices, pose[:3].copy(), lens, size) for pose, lens in zip(w2c, lenses, strict=True)]
    if len(views) == 1:
        _fill(views[0], faces, near, far, spread, spread_ranges)
    else:
        # A thread a view: a task of the pool may not wait for others.
        spread(lambda i: _fill(views[i], faces, near, far, _one_by_one, _at_once), len(views))
    return views


def _place(vertices: np.ndarray, w2c: np.ndarray, lens: np.ndarray, size: tuple[int, int]) -> Visible:
    from openlrm.geometry.raster_kernels import project

    points, screen = np.empty((len(vertices), 3)), np.empty((len(vertices), 2))
    project(vertices, w2c, lens, points, screen)
    return Visible(w2c, lens, points, screen, np.empty(size, np.int32), np.empty(size, np.float32))


def _fill(view: Visible, faces: np.ndarray, near: float, far: float, spread, spread_ranges) -> None:
    """Write what a view sees, with the given ways of dealing out work."""
    from openlrm.geometry import raster_kernels as kernels

    (height, width), points, screen = view.face.shape, view.points, view.screen
    bounds = np.empty((len(faces), 4), np.int32)
    spread_ranges(
        lambda first, last: kernels.bound_faces(faces, points, screen, near, height, width, first, last, bounds),
        len(faces),
        _TASK_FACES,
    )
    starts = np.empty(-(-height // kernels.TILE) * -(-width // kernels.TILE) + 1, np.int64)
    listed = kernels.bin_faces(bounds, height, width, starts)

    def work(tile: int) -> None:
        kernels.fill_tile(tile, faces, points, bounds, listed, starts, view.lens, near, far, view.face, view.depth)

    spread(work, len(starts) - 1)


def _one_by_one(work, tasks: int) -> None:
    for task in range(tasks):
        work(task)


def _at_once(work, length: int, step: int) -> None:
    work(0, length)
