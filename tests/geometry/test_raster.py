"""The z-buffer against golden numbers and a caster of rays."""

import numpy as np
import pytest

from openlrm.errors import UserError
from openlrm.geometry.raster import rasterize


def cast(vertices, faces, w2c, lens, size, near=0.1, far=1000.0):
    """Nearest face along each pixel's ray (Moeller and Trumbore, 1997), as plain numpy."""
    height, width = size
    rotation, centre = w2c[:3, :3], -w2c[:3, :3].T @ w2c[:3, 3]
    rows, columns = np.indices(size)
    x, y = ((columns + 0.5) / width - lens[2]) / lens[0], -((rows + 0.5) / height - lens[3]) / lens[1]
    rays = np.stack([x, y, -np.ones(size)], -1).reshape(-1, 3) @ rotation
    a, b, c = vertices[faces].astype(float).transpose(1, 0, 2)
    across = np.cross(rays[:, None], (c - a)[None])
    scale = np.einsum("pfi,fi->pf", across, b - a)
    u = np.einsum("pfi,fi->pf", across, centre - a) / scale
    along = np.cross(centre - a, b - a)
    v = np.einsum("pi,fi->pf", rays, along) / scale
    t = np.einsum("fi,fi->f", along, c - a) / scale
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= near) & (t <= far)
    t = np.where(hit, t, np.inf)
    nearest = t.argmin(1)
    depth = t[np.arange(len(t)), nearest]
    return np.where(np.isfinite(depth), nearest, -1).reshape(size), np.where(np.isfinite(depth), depth, 0).reshape(size)


def soup(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes that cut each other."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1, 1, (count, 1, 3)) + rng.normal(size=(count, 3, 3)) * rng.uniform(0.02, 1, (count, 1, 1))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("fov", [30, 50])
def test_golden_faces(surface_golden, lens, fov):
    names = ("raster_v", "raster_f", f"raster{fov}_w2c")
    views = rasterize(*(surface_golden[name] for name in names), lens(fov), (32, 32))
    for view, face, depth in zip(
        views, surface_golden[f"raster{fov}_face"], surface_golden[f"raster{fov}_depth"][..., 0], strict=True
    ):
        np.testing.assert_array_equal(view.face, face)
        np.testing.assert_allclose(view.depth, depth, atol=1e-5)


@pytest.mark.parametrize("size", [(20, 20), (33, 70), (64, 31)])
@pytest.mark.parametrize("seed", range(3))
def test_sees_what_rays_meet(around, seed, size):
    vertices, faces = soup(seed)
    poses, intrinsics = around(3, 3.0), np.array([[1.2, 1.5, 0.45, 0.6]] * 3)
    for view, pose, eye in zip(rasterize(vertices, faces, poses, intrinsics, size), poses, intrinsics, strict=True):
        face, depth = cast(vertices, faces, pose, eye, size)
        np.testing.assert_array_equal(view.face, face)
        np.testing.assert_allclose(view.depth, depth, rtol=1e-6)
        assert len(np.unique(face)) > 10


def test_sees_what_rays_meet_amid_the_triangles(around, lens):
    """A camera inside: faces pass beside and behind it."""
    vertices, faces = soup(5, 60)
    for distance in (0.05, 0.4, 0.9):
        pose = around(1, distance)
        view = rasterize(vertices, faces, pose, lens(80), (32, 32), near=0.02, far=1.5)[0]
        face, depth = cast(vertices, faces, pose[0], lens(80), (32, 32), near=0.02, far=1.5)
        np.testing.assert_array_equal(view.face, face)
        np.testing.assert_allclose(view.depth, depth, rtol=1e-5)


def test_neighbours_leave_no_gap(lens):
    """A fan whose edges pass exactly through pixel centres."""
    pose = np.eye(4)[None].copy()
    pose[0, 2, 3] = -2
    grid = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(grid, grid)
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    a = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 10], 1), np.stack([a, a + 10, a + 9], 1)])
    # 16 pixels over a width of 2: centres lie on the diagonals, and for 8 pixels shifted by half on the sides.
    for size, centre in ((16, 0.5), (16, 0.5 + 0.5 / 16)):
        view = rasterize(vertices, faces, pose, np.array([1.0, 1.0, centre, centre]), (size, size))[0]
        assert (view.face >= 0).all()


def test_one_view_is_the_same_as_one_of_many(around, lens):
    vertices, faces = soup(1)
    poses = around(4, 3.0)
    many = rasterize(vertices, faces, poses, lens(50), (48, 48))
    for i, view in enumerate(many):
        alone = rasterize(vertices, faces, poses[i : i + 1], lens(50), (48, 48))[0]
        np.testing.assert_array_equal(view.face, alone.face)


def test_no_faces_and_faces_behind_show_nothing(lens):
    pose = np.eye(4)[None]
    empty = rasterize(np.zeros((0, 3)), np.zeros((0, 3), np.int32), pose, lens(50), (8, 8))[0]
    behind = rasterize(np.array([[0.0, 0, 1], [1, 0, 1], [0, 1, 1]]), np.array([[0, 1, 2]]), pose, lens(50), (8, 8))[0]
    for view in (empty, behind):
        assert (view.face == -1).all() and (view.depth == 0).all()


def test_what_does_not_fit_is_refused(lens):
    vertices, faces = soup(0)
    with pytest.raises(UserError, match="cameras"):
        rasterize(vertices, faces, np.eye(4), lens(50), (8, 8))
    with pytest.raises(UserError, match="name vertices"):
        rasterize(vertices[:5], faces, np.eye(4)[None], lens(50), (8, 8))
