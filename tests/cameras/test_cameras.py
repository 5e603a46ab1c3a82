"""Cameras against the golden arrays, against each other and against what a picture must show."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlrm import cameras
from openlrm.cameras import conventions
from openlrm.errors import UserError

GOLDEN = Path(__file__).parents[2] / "openlrm" / "families" / "lrm" / "golden" / "golden.npz"
SOURCE = np.array([[1, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0]], float)

coordinate = st.floats(-3, 3, allow_nan=False, width=32)
position = st.tuples(coordinate, coordinate, coordinate).filter(lambda p: np.linalg.norm(p) > 0.1)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name] for name in arrays.files if not name.startswith("grad/")}


def rotation_about(axis, angle):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def assert_rigid(poses):
    rotations = np.asarray(poses, float)[..., :3, :3]
    np.testing.assert_allclose(np.swapaxes(rotations, -1, -2) @ rotations, np.eye(3) + 0 * rotations, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-6)


def test_surrounding_views_match_the_golden_path(golden):
    poses = cameras.surrounding_views(5)
    assert poses.dtype == np.float32
    np.testing.assert_allclose(poses, golden["surround_extrinsics"], atol=1e-6)
    np.testing.assert_allclose(cameras.Camera(poses).render_record(), golden["surround_cameras"], atol=1e-6)


def test_source_camera_matches_golden(golden):
    ours = [cameras.Camera(cameras.default_source_pose(d)).source_record() for d in (2.0, 2.4)]
    np.testing.assert_array_equal(np.stack(ours), golden["source_camera"])


@pytest.mark.parametrize("homogeneous", [False, True])
def test_normalize_poses_match_golden(golden, homogeneous):
    poses = golden["pose_in"]
    if homogeneous:
        poses = np.concatenate([poses, np.broadcast_to([[[0, 0, 0, 1]]], (3, 1, 4))], axis=1)
    np.testing.assert_allclose(cameras.normalize_poses(poses), golden["pose_norm_auto"], atol=2e-6)
    np.testing.assert_allclose(cameras.normalize_poses(poses, 2), golden["pose_norm_2"], atol=2e-6)


def test_pixel_rays_match_golden(golden):
    records = golden["render_cameras"].reshape(6, 25).astype(float)
    origins, directions = cameras.pixel_rays(
        records[:, :16].reshape(6, 4, 4),
        records[:, [16, 20, 18, 21]],
        golden["render_resolutions"].reshape(6),
        golden["render_anchors"].reshape(6, 2),
        region=12,
    )
    np.testing.assert_allclose(origins, golden["ray_origins"], atol=1e-6)
    np.testing.assert_allclose(directions, golden["ray_directions"], atol=1e-6)


def test_render_camera_broadcasts_one_lens_over_many_poses():
    poses = cameras.turntable(3)
    lens = np.array([0.5, 0.6, 0.4, 0.45])
    records = cameras.Camera(poses, lens).render_record()
    np.testing.assert_array_equal(records[2, :16].reshape(4, 4), np.vstack([poses[2], [0, 0, 0, 1]]))
    np.testing.assert_allclose(records[1, 16:], [0.5, 0, 0.4, 0, 0.6, 0.45, 0, 0, 1], atol=1e-7)
    assert cameras.Camera(poses[0], np.tile(lens, (2, 1))).source_record().shape == (2, 16)


def test_worked_example_of_the_convention_page():
    uv, depth = cameras.project([[0.5, 0, 0.25]], cameras.default_source_pose())
    np.testing.assert_allclose(uv, [[0.6875, 0.40625]], atol=1e-6)
    np.testing.assert_allclose(depth, [2], atol=1e-6)
    assert "u = 0.5 + 0.75 * 0.25 = 0.6875, v = 0.5 - 0.75 * 0.125 = 0.40625" in conventions.__doc__


def test_points_that_are_not_in_front_have_no_image():
    uv, depth = cameras.project([[0, -3, 0], [0, -2, 1], [0, 0, 0]], cameras.default_source_pose())
    assert np.isnan(uv[:2]).all()
    np.testing.assert_allclose(uv[2], 0.5)
    np.testing.assert_allclose(depth, [-1, 0, 2], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(position, st.floats(0.3, 2), st.integers(2, 9), st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_projecting_a_point_of_a_ray_returns_its_pixel(where, focal, region, anchor):
    """The two formulas are inverses: a point at any distance on a pixel's ray lands on the pixel's centre."""
    pose, lens, resolution = cameras.look_at(where), (focal, 1.2 * focal, 0.45, 0.55), 32
    origins, directions = cameras.pixel_rays(pose, lens, resolution, anchor, region)
    distances = np.linspace(0.5, 3, region**2)[:, None]
    uv, _ = cameras.project(origins + distances * directions, pose, lens)
    rows, columns = np.mgrid[:region, :region].reshape(2, -1)
    centres = np.stack([columns + anchor[1] + 0.5, rows + anchor[0] + 0.5], axis=-1) / resolution
    np.testing.assert_allclose(uv, centres, atol=2e-5)


def test_whole_image_is_the_default_region():
    _, directions = cameras.pixel_rays(cameras.default_source_pose(), resolution=8)
    assert directions.shape == (64, 3)
    assert directions[0, 0] < 0 < directions[0, 2], "the first pixel is up and to the left"


@settings(max_examples=50, deadline=None)
@given(position, st.tuples(coordinate, coordinate, coordinate))
def test_look_at_centres_its_target_and_keeps_the_horizon(where, target):
    where, target = np.array(where), np.array(target)
    if np.linalg.norm(where - target) < 0.1:
        return
    pose = cameras.look_at(where, target)
    assert_rigid(pose)
    uv, depth = cameras.project(target[None], pose)
    np.testing.assert_allclose(uv, 0.5, atol=1e-5)
    np.testing.assert_allclose(depth, np.linalg.norm(where - target), rtol=1e-5)
    assert abs(pose[2, 0]) < 1e-6, "the right axis is level"
    assert pose[2, 1] >= -1e-6, "up in the picture is not down in the world"


@pytest.mark.parametrize("z", [2.0, -2.0])
def test_look_straight_up_and_down(z):
    pose = cameras.look_at([0, 0, z])
    assert_rigid(pose)
    np.testing.assert_allclose(pose[:, 1], [0, 1, 0], atol=1e-7)
    assert_rigid(cameras.look_at([0, z, 0], up=(0, 1, 0)))


def test_look_at_works_on_batches_and_refuses_its_own_position():
    batch = cameras.look_at([[0, -2, 0], [2, 0, 0]])
    np.testing.assert_allclose(batch[0], SOURCE, atol=1e-7)
    np.testing.assert_array_equal(batch[1], cameras.look_at([2, 0, 0]))
    with pytest.raises(UserError, match="coincide"):
        cameras.look_at([1, 1, 1], [1, 1, 1])
    with pytest.raises(UserError, match="NaN"):
        cameras.look_at([np.nan, 1, 1])


@pytest.mark.parametrize(("radius", "height"), [(2.0, 0.8), (1.7, -1.2), (3.0, 0.0)])
def test_paths_agree_with_look_at(radius, height):
    """Positions from a rotation matrix, poses from look_at: another way to the same circle."""
    start = np.array([0, -np.sqrt(radius**2 - height**2), height])
    closed = [rotation_about([0, 0, 1], 2 * np.pi * k / 6) @ start for k in range(7)]
    np.testing.assert_allclose(cameras.surrounding_views(7, radius, height), cameras.look_at(closed), atol=1e-6)
    np.testing.assert_allclose(cameras.turntable(6, radius, height), cameras.look_at(closed[:6]), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(-720, 720), st.floats(-89, 89), st.floats(0.5, 5))
def test_orbit_stands_at_its_angles_and_looks_at_the_origin(azimuth, elevation, radius):
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    # Azimuth 0 is -Y; counter-clockwise from there comes +X.
    position = radius * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    pose = cameras.orbit(azimuth, elevation, radius)
    np.testing.assert_allclose(pose, cameras.look_at(position), atol=2e-5 * radius)


def test_orbit_begins_at_the_source_camera():
    np.testing.assert_allclose(cameras.orbit(0, 0, 2.5), cameras.default_source_pose(2.5), atol=1e-6)
    np.testing.assert_allclose(cameras.orbit(10, 90)[:, 3], [0, 0, 2], atol=1e-6)


def test_turntable_loops_without_a_repeated_frame():
    poses = cameras.turntable(8)
    steps = np.linalg.norm(np.roll(poses, -1, axis=0)[:, :, 3] - poses[:, :, 3], axis=-1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    np.testing.assert_allclose(cameras.surrounding_views(9)[:8], poses, atol=1e-6)
    assert cameras.turntable(1).shape == cameras.surrounding_views(1).shape == (1, 3, 4)


@pytest.mark.parametrize("height", [2.0, -2.0])
def test_straight_above_the_path_turns_on_the_spot(height):
    poses = cameras.turntable(4, 2.0, height)
    assert_rigid(poses)
    np.testing.assert_allclose(poses[:, :, 3], [[0, 0, height]] * 4, atol=1e-7)
    np.testing.assert_allclose(poses[0, :, 0], [1, 0, 0], atol=1e-7)
    np.testing.assert_allclose(poses[1, :, 0], [0, 1, 0], atol=1e-7)


@pytest.mark.parametrize(
    "arguments", [(0,), (4, -1.0), (4, 0.0), (4, float("nan")), (4, 2.0, 2.1), (4, 2.0, float("nan"))]
)
def test_impossible_paths_are_refused(arguments):
    with pytest.raises(UserError):
        cameras.surrounding_views(*arguments)
    with pytest.raises(UserError):
        cameras.turntable(*arguments)


@settings(max_examples=30, deadline=None)
@given(st.lists(position, min_size=2, max_size=4), st.one_of(st.just("auto"), st.floats(0.5, 4)))
def test_normalising_is_one_rigid_motion_of_the_world(where, distance):
    poses = cameras.look_at(where)
    moved = cameras.normalize_poses(poses, distance)
    expected = np.linalg.norm(where[0]) if distance == "auto" else distance
    np.testing.assert_allclose(moved[0], cameras.default_source_pose(expected), atol=1e-5)
    gram = [p[0, :, :3].T @ p[-1, :, :3] for p in (poses, moved)]
    np.testing.assert_allclose(gram[0], gram[1], atol=1e-5)
    gaps = [p[0, :, :3].T @ (p[-1, :, 3] - p[0, :, 3]) for p in (poses, moved)]
    np.testing.assert_allclose(gaps[0], gaps[1], atol=2e-5)


def test_normalising_refuses_what_it_cannot_place():
    poses = np.tile(SOURCE, (2, 1, 1))
    with pytest.raises(UserError, match="positive"):
        cameras.normalize_poses(poses, 0)
    with pytest.raises(UserError, match="'near'"):
        cameras.normalize_poses(poses, "near")
    poses[0, :, 3] = 0
    with pytest.raises(UserError, match="at the origin"):
        cameras.normalize_poses(poses)
    np.testing.assert_allclose(cameras.normalize_poses(poses, 2)[0], SOURCE, atol=1e-7)


def test_validate_pose_accepts_both_shapes_and_small_errors():
    turned = np.column_stack([rotation_about([1, 2, 3], 0.7), [1, 2, 3]])
    checked = cameras.validate_pose(np.vstack([turned, [0, 0, 0, 1]]))
    assert checked.shape == (3, 4)
    assert checked.dtype == np.float32
    np.testing.assert_allclose(checked, turned, atol=1e-6)
    cameras.validate_pose(turned + 1e-4)


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.zeros((4, 3)), r"shape \(4, 3\)"),
        (np.zeros((2, 3, 4)), "shape"),
        (np.where(SOURCE == -2, np.nan, SOURCE), "NaN"),
        (np.where(SOURCE == -2, np.inf, SOURCE), "infinity"),
        (SOURCE * 1.01, "not orthonormal"),
        (np.zeros((3, 4)), "not orthonormal"),
        (SOURCE * [[1, 1, -1, 1]], "mirrors"),
        (np.vstack([SOURCE, [0, 0, 1, 0]]), "last row"),
        (np.vstack([SOURCE, [0, 0, 0, 1]]).T, "last row"),
        (SOURCE.astype(str), "real numbers"),
        (SOURCE.astype(complex), "real numbers"),
    ],
)
def test_validate_pose_says_what_is_wrong_and_where(pose, message):
    with pytest.raises(UserError, match=f"{message}.*007.npy"):
        cameras.validate_pose(pose, "007.npy")


@pytest.mark.parametrize("distance", [0, -1, float("nan"), float("inf")])
def test_source_distance_must_be_positive(distance):
    with pytest.raises(UserError, match="positive"):
        cameras.default_source_pose(distance)


def test_intrinsics_from_pixels():
    ours = cameras.intrinsics_from_pixels([[300, 200], [160, 90], [400, 200]])
    np.testing.assert_allclose(ours, [0.75, 1.0, 0.4, 0.45], rtol=1e-6)
    for bad in (
        np.zeros((2, 3)),
        [[0, 1], [1, 1], [1, 1]],
        [[1, 1], [1, 1], [1, 0]],
        [[1, np.nan], [1, 1], [1, 1]],
    ):
        with pytest.raises(UserError, match=r"intr\.npy"):
            cameras.intrinsics_from_pixels(bad, "intr.npy")
