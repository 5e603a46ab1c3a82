"""Visible points: golden labels, an analytic sphere, shells."""

import numpy as np
import pytest

from openlrm.analysis.visibility import (
    group_figures,
    outward_normals,
    pixels_of,
    shell,
    view_angle,
    visible_by_depth,
    visible_by_normal,
)
from openlrm.cameras import default_source_pose, look_at, pixel_rays, project
from openlrm.errors import UserError

POSE = default_source_pose()


def test_golden_labels(freq_golden):
    points, depth = freq_golden["visibility/points"], freq_golden["visibility/depth"]
    labels = visible_by_depth(points, depth, POSE)
    np.testing.assert_array_equal(labels, freq_golden["visibility/depth_label"])
    parity = visible_by_depth(points, depth, POSE, definitions="parity")
    np.testing.assert_array_equal(parity, freq_golden["visibility/depth_label_parity"])
    facing = visible_by_normal(points, freq_golden["visibility/normals"], POSE)
    np.testing.assert_array_equal(facing, freq_golden["visibility/normal_label"])
    exact = freq_golden["visibility/exact"]
    agreement = [(found == exact).mean() for found in (labels, parity, facing)]
    np.testing.assert_allclose(agreement, freq_golden["visibility/agreement_with_exact"], atol=1e-15)


def test_golden_pixels(freq_golden):
    inside, rows, columns = pixels_of(project(freq_golden["visibility/points"], POSE)[0], 64, 64)
    expected = freq_golden["visibility/pixel"]
    np.testing.assert_array_equal(np.stack([rows, columns], 1)[inside], np.floor(expected[inside]))


def sphere_depth(radius: float, size: int) -> np.ndarray:
    """Distance along unit rays to a sphere around the origin, seen from the default source camera."""
    origins, directions = (rays.astype(float) for rays in pixel_rays(POSE, resolution=size))
    along = -(origins * directions).sum(1)
    under = along**2 - (origins**2).sum(1) + radius**2
    depth = np.where(under > 0, along - np.sqrt(np.maximum(under, 0)), np.inf)
    return depth.reshape(size, size)


@pytest.mark.parametrize("radius", [0.3, 0.7])
def test_visible_share_of_a_sphere(radius):
    """From a distance d the visible share of the area is (1 - R / d) / 2."""
    normals = np.random.default_rng(0).standard_normal((20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points, expected = radius * normals, (1 - radius / 2) / 2
    assert visible_by_normal(points, normals, POSE).mean() == pytest.approx(expected, abs=0.012)
    found = visible_by_depth(points, sphere_depth(radius, 1024), POSE, tolerance=0.01)
    assert found.mean() == pytest.approx(expected, abs=0.02)


def test_distance_not_depth_along_the_axis():
    """A wall seen at an angle: along the axis it would be 20 % too near at the edge."""
    points = np.array([[1.2, 0, 0], [0, 0, 0]])
    distance = np.linalg.norm(points - POSE[:, 3], axis=1)
    depth = np.full((8, 8), np.inf)
    _, rows, columns = pixels_of(project(points, POSE)[0], 8, 8)
    depth[rows, columns] = distance
    assert visible_by_depth(points, depth, POSE).all()
    assert not visible_by_depth(points, depth, POSE, definitions="parity")[0]


def test_points_out_of_sight():
    points = np.array([[0, -3.0, 0], [5, 0, 0], [0, 0, 0], [0, 0.3, 0]])
    assert visible_by_depth(points, np.full((4, 4), 2.0), POSE).tolist() == [False, False, True, False]
    assert not visible_by_depth(points, np.full((4, 4), np.inf), POSE).any()


def test_normals_point_out():
    points = np.random.default_rng(0).standard_normal((50, 3))
    points *= 0.5 / np.linalg.norm(points, axis=1, keepdims=True)
    found = outward_normals(lambda p: np.exp(-4 * (p**2).sum(1)), points)
    np.testing.assert_allclose(found, 2 * points, atol=1e-3)
    assert not outward_normals(lambda p: np.ones(len(p)), points).any()


def test_shell_of_a_cube():
    body = np.zeros((8, 8, 8), bool)
    body[2:7, 2:7, 2:7] = True
    expected = body.copy()
    expected[3:6, 3:6, 3:6] = False
    np.testing.assert_array_equal(shell(body), expected)
    assert shell(np.ones((3, 3, 3), bool)).sum() == 26


def test_angles_and_groups():
    assert view_angle(look_at((2, 0, 0)), POSE) == pytest.approx(90, abs=1e-4)
    assert view_angle(POSE, POSE) == 0
    assert view_angle(look_at((0, 2, 1e-3)), POSE) == pytest.approx(179.971, abs=1e-3)
    assert group_figures(np.arange(11), "visible") == {
        "count": 11, "mean": 5, "median": 5, "std": pytest.approx(10**0.5), "p90": 9, "max": 10,
    }  # fmt: skip
    with pytest.raises(UserError, match="no hidden point on this surface"):
        group_figures(np.empty(0), "hidden")
