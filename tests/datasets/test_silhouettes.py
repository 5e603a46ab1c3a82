"""Poses against silhouettes, on a solid whose projection is known: a box and a ball, drawn by rays."""

import numpy as np
import pytest

from openlrm.cameras import look_at, pixel_rays
from openlrm.datasets.silhouettes import CONVENTIONS, GOOD, agreement, better_convention, coarse_mask

INTRINSICS = np.array([0.75, 0.75, 0.5, 0.5])
BALL = (np.array([0.3, 0.1, 0.45]), 0.25)
BOX = (np.array([-0.6, -0.3, -0.5]), np.array([0.5, 0.2, -0.1]))


def silhouette(pose, side=64):
    origins, directions = (rays.astype(np.float64) for rays in pixel_rays(pose, INTRINSICS, side))
    to_centre = BALL[0] - origins
    along = (to_centre * directions).sum(axis=1)
    ball = (to_centre**2).sum(axis=1) - along**2 < BALL[1] ** 2
    first, second = (BOX[0] - origins) / directions, (BOX[1] - origins) / directions
    box = np.minimum(first, second).max(axis=1) < np.maximum(first, second).min(axis=1)
    return np.where(ball | box, 255, 0).reshape(side, side).astype(np.uint8)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(8, 3)) * [1, 1, 0.5]
    poses = look_at(positions / np.linalg.norm(positions, axis=1, keepdims=True) * rng.uniform(1.9, 2.6, (8, 1)))
    return np.stack([coarse_mask(silhouette(pose)) for pose in poses]), poses


def test_coarse_mask():
    alpha = np.zeros((64, 128), np.uint8)
    alpha[63, 127] = alpha[10, 3] = 128
    alpha[20, 20] = 127
    assert np.argwhere(coarse_mask(alpha)).tolist() == [[5, 0], [31, 31]]


def test_right_poses_agree(scene):
    masks, poses = scene
    score = agreement(masks, poses, INTRINSICS)
    assert score > 0.95
    assert better_convention(masks, poses, INTRINSICS, score) is None


def test_one_wrong_pose_shows(scene):
    masks, poses = scene
    wrong = poses.copy()
    wrong[3] = poses[5]
    assert agreement(masks, wrong, INTRINSICS) < agreement(masks, poses, INTRINSICS) - 0.05


def stored_as(poses, kind):
    """Poses as programs with other conventions would write them; the other way round than CONVENTIONS."""
    whole = np.tile(np.eye(4), (len(poses), 1, 1))
    whole[:, :3] = poses
    flips = {"opencv": [1, -1, -1, 1], "colmap": [1, -1, -1, 1], "upside": [-1, -1, 1, 1], "backwards": [-1, 1, -1, 1]}
    turned = whole @ np.diag(flips.get(kind, [1.0, 1, 1, 1]))
    if kind in ("world-to-camera", "colmap"):
        turned = np.linalg.inv(turned)
    return turned[:, :3]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("opencv", "OpenCV axes (+Y down"),
        ("world-to-camera", "world-to-camera: invert"),
        ("colmap", "as COLMAP writes"),
        ("upside", "upside down"),
        ("backwards", "look backwards"),
    ],
)
def test_other_conventions_are_recognised(scene, kind, words):
    masks, poses = scene
    stored = stored_as(poses, kind)
    score = agreement(masks, stored, INTRINSICS)
    name, reached = better_convention(masks, stored, INTRINSICS, score)
    assert words in name
    assert reached > max(GOOD, score + 0.03)
    np.testing.assert_allclose(CONVENTIONS[name](stored), poses, atol=1e-6)


def test_poses_of_something_else_fit_in_no_way(scene):
    masks, poses = scene
    other = poses[[3, 0, 6, 1, 7, 2, 4, 5]]
    score = agreement(masks, other, INTRINSICS)
    assert score < GOOD
    assert better_convention(masks, other, INTRINSICS, score) is None
