"""Named cameras against the numbers that other programs' formulas give, and cameras brought to the cube."""

import numpy as np
import pytest

from openlrm.cameras import Camera, look_at
from openlrm.cameras.distortion import Distortion
from openlrm.cameras.rigs import RIGS, Rig, spread
from openlrm.cameras.similarity import HALF_SIDE, fit_object, nearest_to_axes, transformed
from openlrm.errors import UserError


def by_formula(azimuth, elevation, radius, fov):
    """The record of the pages: r (cos e cos a, cos e sin a, sin e), z = position, x = up x z, y = z x x."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    position = radius * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    z = position / np.linalg.norm(position)
    x = np.cross([0, 0, 1], z)
    x /= np.linalg.norm(x)
    focal = 0.5 / np.tan(np.deg2rad(fov) / 2)
    return np.concatenate([np.stack([x, np.cross(z, x), z, position], axis=1).reshape(12), [focal, focal, 0.5, 0.5]])


def test_zero123plus():
    wanted = [
        by_formula(azimuth, elevation, 4, 30)
        for azimuth, elevation in zip((30, 90, 150, 210, 270, 330), (20, -10) * 3, strict=True)
    ]
    np.testing.assert_allclose(RIGS["zero123plus"].cameras(6).source_record(), wanted, atol=1e-6)


def test_sv3d():
    wanted = [by_formula(i * 360 / 21, 0, 4, 30) for i in range(21)]
    np.testing.assert_allclose(RIGS["sv3d"].cameras(21).source_record(), wanted, atol=1e-6)
    other = RIGS["sv3d"].cameras(21, elevation=10, distance=3, fov=39.6, scale=0.5, clockwise=True)
    wanted = [by_formula(-i * 360 / 21, 10, 1.5, 39.6) for i in range(21)]
    np.testing.assert_allclose(other.source_record(), wanted, atol=1e-6)


def test_golden_of_other_programs(shared_dir):
    with np.load(shared_dir / "golden" / "instantmesh" / "golden.npz") as golden:
        for name, scale in (("zero123plus_cameras_r4", 1), ("zero123plus_cameras_r3_2", 0.8)):
            got = RIGS["zero123plus"].cameras(6, scale=scale).source_record()
            np.testing.assert_allclose(got, golden[name], atol=2e-6)
        np.testing.assert_allclose(RIGS["sv3d"].cameras(21).source_record(), golden["sv3d_cameras_r4"], atol=2e-6)
    with np.load(shared_dir / "golden" / "geolrm" / "golden.npz") as golden:
        got = RIGS["sv3d"].cameras(21, distance=1.5, elevation=10, fov=39.6)
        np.testing.assert_allclose(got.c2w, golden["sv3d_c2w"][:, :3], atol=2e-6)
        np.testing.assert_allclose(got.matrix(), golden["sv3d_K"], atol=2e-6)
        got = RIGS["zero123plus"].cameras(6, distance=1.5)
        np.testing.assert_allclose(got.c2w, golden["zero123_c2w"][:, :3], atol=2e-6)


@pytest.mark.parametrize(
    ("name", "count", "more", "said"),
    [
        ("zero123plus", 5, {}, "5 pictures, but these cameras are 6"),
        ("sv3d", 20, {}, "20 pictures, but these cameras are 21"),
        ("zero123plus", 6, {"elevation": 10}, "fixed"),
        ("orbit", 4, {"fov": 180}, "180"),
        ("orbit", 4, {"distance": 0}, "radius"),
        ("orbit", 4, {"elevation": 91}, "elevation 91"),
    ],
)
def test_cameras_that_cannot_be(name, count, more, said):
    with pytest.raises(UserError, match=said):
        RIGS[name].cameras(count, **more)


def test_orbit_takes_any_number():
    assert len(RIGS["orbit"].cameras(7)) == 7
    assert Rig((0,), 2, 40).cameras(1).shape == (1,)


def test_spread():
    assert spread(8, 21) == (0, 2, 5, 7, 10, 13, 15, 18)
    assert spread(3, 3) == (0, 1, 2)


def test_similarity_is_undone(cube):
    """A world that was moved and scaled comes back, to one scale that follows from what is seen."""
    directions = np.random.default_rng(0).normal(size=(12, 3))
    true = Camera(look_at(3 * directions / np.linalg.norm(directions, axis=1, keepdims=True)), (1.1, 1.1, 0.5, 0.5))
    masks = [cube.picture(camera, 64, 64)[..., 3] > 127 for camera in true]
    moved = transformed(true, np.array([-20.0, 3, 7]), 41.0)
    np.testing.assert_allclose(nearest_to_axes(moved), 41 * np.array([20.0, -3, -7]), atol=1e-3)
    back = fit_object(moved, masks)
    np.testing.assert_allclose(back.rotations, true.rotations, atol=1e-6)
    scales = np.linalg.norm(back.centers, axis=1) / 3
    np.testing.assert_allclose(scales, scales[0], rtol=1e-4)
    np.testing.assert_allclose(back.centers, true.centers * scales[0], atol=1e-3)
    # In some view the object reaches the bound, in none it goes beyond, but for a pixel.
    seen = [np.abs((camera.project(scales[0] * cube.corners)[0] - 0.5) / 1.1) for camera in back]
    reach = np.array([one.max() for one in seen]) * np.linalg.norm(back.centers, axis=1)
    assert abs(reach.max() - HALF_SIDE) < 0.05


def test_similarity_needs_axes_that_meet(cube):
    side = look_at([[0.0, -3, 0], [0, -3, 1]], [[0.0, 0, 0], [0, 0, 1]])
    with pytest.raises(UserError, match="parallel"):
        nearest_to_axes(Camera(side))
    across = Camera(look_at([[0.0, -3, 0], [3, 0, 0]]))
    with pytest.raises(UserError, match="no view shows"):
        fit_object(across, [np.zeros((8, 8), bool)] * 2)
    away = look_at([0.0, -3, 0], [0.0, -6, 0]), look_at([3.0, 0, 0]), look_at([0.0, 0.1, 3])
    with pytest.raises(UserError, match="camera 0 looks away"):
        fit_object(Camera(np.stack(away)), [np.ones((8, 8), bool)] * 3)


def test_distortion_formulas():
    x, y = np.array([0.3]), np.array([-0.2])
    square = 0.13
    got = Distortion((0.1, -0.05, 0.01), (0.002, -0.003)).distort(x, y)
    factor = 1 + 0.1 * square - 0.05 * square**2 + 0.01 * square**3
    np.testing.assert_allclose(got[0], 0.3 * factor + 2 * 0.002 * 0.3 * -0.2 + -0.003 * (square + 2 * 0.09))
    np.testing.assert_allclose(got[1], -0.2 * factor + 0.002 * (square + 2 * 0.04) + 2 * -0.003 * 0.3 * -0.2)
    theta = np.arctan(np.sqrt(square))
    bent = Distortion((0.1, 0.02, 0, 0), fisheye=True).distort(x, y)
    wanted = theta * (1 + 0.1 * theta**2 + 0.02 * theta**4) / np.sqrt(square)
    np.testing.assert_allclose(bent, [0.3 * wanted * np.ones(1), -0.2 * wanted * np.ones(1)])
