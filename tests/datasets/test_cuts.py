"""Boxes before cameras whose pictures are known."""

import numpy as np
import pytest

from openlrm.cameras import look_at
from openlrm.datasets.cuts import fills_picture, reaches_border, share_cut
from openlrm.datasets.inspection import CUT

INTRINSICS = np.array([0.75, 0.75, 0.5, 0.5])
CUBE = np.array([[-0.8] * 3, [0.8] * 3])


def front(distance):
    return look_at([0, -distance, 0])


def test_a_face_seen_frontally():
    """At 1.7 the picture shows 0.6 of the 0.8 to either side of the face: 9 / 16 of it are left."""
    assert share_cut(CUBE, front(1.7), INTRINSICS) == pytest.approx(7 / 16)
    assert share_cut(CUBE, front(2.6), INTRINSICS) == 0
    assert share_cut(CUBE, front(0.5), INTRINSICS) == 1
    assert share_cut(CUBE, look_at([0, -2.6, 0], [0, -5, 0]), INTRINSICS) == 1


def test_pictures_that_are_filled():
    """The face fills the picture up to a distance of 0.8 + 0.8 * 1.5 = 2."""
    assert fills_picture(CUBE, front(1.99), INTRINSICS, 512)
    assert not fills_picture(CUBE, front(2.02), INTRINSICS, 512)
    assert not fills_picture(CUBE * [0.9, 1, 1], front(1.99), INTRINSICS, 512)
    assert not fills_picture(CUBE, look_at([1.4, -1.4, 0]), INTRINSICS, 512)


def test_the_border_is_reached():
    assert reaches_border(CUBE, front(2.0), INTRINSICS, 512)
    assert not reaches_border(CUBE, front(2.1), INTRINSICS, 512)
    assert reaches_border(CUBE, front(2.1), INTRINSICS, 16), "its pixels are larger"


@pytest.mark.parametrize("seed", range(3))
def test_a_cube_before_the_default_cameras_is_cut_no_more_than_may_be(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        distance, height, angle = rng.uniform(1.9, 2.6), rng.uniform(-0.75, 1.6), rng.uniform(0, 2 * np.pi)
        across = np.sqrt(distance**2 - height**2)
        pose = look_at([across * np.cos(angle), across * np.sin(angle), height])
        assert share_cut(CUBE, pose, INTRINSICS) < CUT
