"""Mask overlap and surface distances of shapes whose distance is known."""

import numpy as np
import pytest
import trimesh

from openlrm.metrics import compare_meshes, fit_to_cube, mask_iou, sample_surface


def sphere(radius: float = 1.0, centre=(0, 0, 0)) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return mesh.vertices + np.asarray(centre), mesh.faces


def test_overlap_of_masks():
    a, b = np.zeros((4, 6)), np.zeros((4, 6))
    a[:, :4], b[:, 2:] = 1, 0.6
    assert mask_iou(a, b) == pytest.approx(8 / 24)
    assert mask_iou(a, b, threshold=0.7) == 0
    assert mask_iou(a, a) == mask_iou(np.zeros(3), np.zeros(3)) == 1
    assert mask_iou(a > 0, b > 0) == pytest.approx(8 / 24)
    with pytest.raises(ValueError, match=r"\(4, 6\) and \(6, 4\)"):
        mask_iou(a, b.T)


def test_concentric_spheres_are_as_far_apart_as_their_radii():
    scores = compare_meshes(sphere(1.2), sphere(1.0), thresholds=(0.15, 0.25))
    # Facets lie inside the sphere and samples between each other: a percent of the radius.
    assert scores.accuracy == pytest.approx(0.2, abs=0.005)
    assert scores.completeness == pytest.approx(0.2, abs=0.005)
    assert scores.chamfer == pytest.approx((scores.accuracy + scores.completeness) / 2)
    assert scores.f_scores == {0.15: 0, 0.25: 1}


def test_a_missing_part_costs_completeness_alone():
    """Two unit spheres ten apart; the prediction has one: half of the truth is 8 to 10 away, 9 on average."""
    one = sphere()
    other = sphere(centre=(10, 0, 0))
    both = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1] + len(one[0])])
    scores = compare_meshes(one, both, thresholds=(0.1,))
    assert scores.accuracy < 0.02
    # From a point p of the far sphere to the near one: |p| - 1; the mean of |p| is 10 + 1 / 30.
    assert scores.completeness == pytest.approx((9 + 1 / 30) / 2, abs=0.03)
    precision, recall = 1.0, 0.5
    assert scores.f_scores[0.1] == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01)


def test_the_order_of_arguments_swaps_accuracy_and_completeness():
    a, b = sphere(1.0, (0.3, 0, 0)), sphere(0.7)
    ab, ba = compare_meshes(a, b), compare_meshes(b, a)
    assert ab.accuracy == pytest.approx(ba.completeness, rel=0.02)
    assert ab.completeness == pytest.approx(ba.accuracy, rel=0.02)
    assert compare_meshes(a, b) == ab


def test_points_are_spread_by_area():
    """A square of two triangles, one cut into slivers: the points' mean and spread are the square's."""
    vertices = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [0.01, 0.01, 0]], float)
    faces = np.array([[0, 1, 4], [1, 2, 4], [2, 0, 4], [0, 2, 3]])
    points = sample_surface(vertices, faces, 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(axis=0), [1, 1, 0], atol=0.02)
    np.testing.assert_allclose(points.std(axis=0), [2 / np.sqrt(12)] * 2 + [0], atol=0.01)


def test_scale_is_aligned_by_the_box():
    box = np.array([[1, 1, 1], [2, 3, 5], [1.5, 2, 3]], float)
    np.testing.assert_allclose(fit_to_cube(box), [[-0.25, -0.5, -1], [0.25, 0.5, 1], [0, 0, 0]])
    vertices, faces = sphere(0.37, (4, 5, 6))
    scores = compare_meshes((fit_to_cube(vertices), faces), sphere())
    assert scores.chamfer < 0.02 and scores.f_scores == {0.1: 1}


@pytest.mark.parametrize(
    "stray",
    [
        np.zeros((0, 3), int),
        [[8, 8, 8]],
        [[8, 9, 10]],
        [[0, 8, 8]],
    ],
    ids=["unused", "point", "line", "needle"],
)
def test_the_box_is_that_of_what_is_seen(stray):
    """Far vertices that no face uses, or only faces without an area, which rounding does not give them one either."""
    box = trimesh.creation.box((2, 1, 1))
    far = np.float32([[3.3, 7.7, 1.1]]) * np.float32([[1], [2], [3.7]])
    vertices = np.concatenate([box.vertices[:8], far]).astype(np.float32)
    faces = np.concatenate([box.faces, np.array(stray, int).reshape(-1, 3)])
    np.testing.assert_allclose(fit_to_cube(vertices, faces)[:8], box.vertices, atol=1e-6)
    scores = compare_meshes((fit_to_cube(vertices, faces), faces), (box.vertices, box.faces))
    assert scores.chamfer < 0.03


def test_slivers_count():
    """A triangle a thousand times as long as high is to be seen."""
    vertices, faces = np.array([[0, 0, 0], [1000.0, 0, 0], [500, 1, 0]]), np.array([[0, 1, 2]])
    assert np.ptp(fit_to_cube(vertices, faces)[:, 0]) == pytest.approx(2)


def test_meshes_of_nothing_are_refused():
    point = np.zeros((3, 3))
    with pytest.raises(ValueError, match="no area"):
        sample_surface(point, np.array([[0, 1, 2]]), 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no extent"):
        fit_to_cube(point)
    with pytest.raises(ValueError, match="no area"):
        fit_to_cube(point, np.array([[0, 1, 2]]))
