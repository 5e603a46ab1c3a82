"""The search for a rotation: it undoes a turn, and finds what trying every rotation without a shortcut finds."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from openlrm.metrics.alignment import align_by_search, euler_rotations, normalised
from openlrm.metrics.mesh import sample_surface


def cloud(count=600, seed=0):
    """Points of a shape without a symmetry: three boxes."""
    rng = np.random.default_rng(seed)
    parts = []
    for half, center in (
        ([0.5, 0.2, 0.1], [0, 0, 0]),
        ([0.1, 0.4, 0.1], [0.5, 0.3, 0]),
        ([0.1, 0.1, 0.3], [-0.4, 0, 0.3]),
    ):
        box = trimesh.creation.box(2 * np.array(half))
        parts.append(sample_surface(box.vertices + center, box.faces, count // 3, rng))
    return np.concatenate(parts)


def plain(prediction, truth, rotations):
    """Chamfer distance of every rotation, one after another."""
    theirs = normalised(truth)
    tree = cKDTree(theirs)
    found = []
    for rotation in rotations:
        turned = normalised((prediction - prediction.mean(axis=0)) @ rotation.T)
        found.append((tree.query(turned)[0].mean() + cKDTree(turned).query(theirs)[0].mean()) / 2)
    return np.array(found)


def test_rotations():
    rotations = euler_rotations()
    assert rotations.shape == (24 * 24 * 12, 3, 3)
    assert np.abs(rotations - np.eye(3)).max(axis=(1, 2)).min() < 1e-12
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    # No turn is farther from one of them than half the diagonal of their spacing of 15 degrees.
    any_turns = Rotation.random(200, random_state=0).as_matrix()
    traces = np.einsum("aij,bij->ab", any_turns, rotations).max(axis=1)
    assert np.rad2deg(np.arccos((traces - 1) / 2)).max() < 15


def test_it_is_what_trying_all_gives():
    rng = np.random.default_rng(1)
    truth = cloud(seed=2)
    prediction = cloud(seed=3) @ Rotation.random(random_state=4).as_matrix().T * 2 + rng.normal(size=3)
    rotations = euler_rotations((8, 8, 4))
    found = align_by_search(prediction, truth, rotations=rotations)
    distances = plain(prediction, truth, rotations)
    assert found.scores.chamfer == pytest.approx(distances.min(), rel=1e-9)
    np.testing.assert_array_equal(found.rotation, rotations[distances.argmin()])
    assert found.measured < len(rotations) / 2


def test_turned_scaled_and_moved():
    """A turn that one of the list undoes comes back exactly: a Chamfer distance of rounding, F-scores of one."""
    truth = cloud()
    turn = euler_rotations()[4321].T
    found = align_by_search(3.7 * truth @ turn.T + [5, -2, 1], truth, (0.005, 0.2))
    assert found.scores.chamfer < 1e-3
    assert found.scores.f_scores == {0.005: 1, 0.2: 1}
    np.testing.assert_allclose(found.rotation @ turn, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.prediction, found.truth, atol=1e-6)


def test_any_turn_with_closest_points():
    truth = cloud()
    turn = Rotation.from_euler("xyz", [0.4, 0.9, -2.0]).as_matrix()
    moved = 0.6 * truth @ turn.T + 1
    rough = align_by_search(moved, truth)
    fine = align_by_search(moved, truth, icp_steps=40)
    assert rough.scores.chamfer > 0.01 and fine.scores.chamfer < 1e-3
    np.testing.assert_allclose(fine.rotation @ turn, np.eye(3), atol=2e-2)


def test_points_without_an_extent():
    with pytest.raises(ValueError, match="no extent"):
        align_by_search(np.zeros((5, 3)), cloud())
    with pytest.raises(ValueError, match="no extent"):
        align_by_search(cloud(), np.eye(3)[[2, 2]] * [[1], [2]])
