"""The camera type: every form it comes in and goes out in, against the written-out definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlrm.cameras import Camera, look_at, turntable
from openlrm.errors import UserError

LENS = [0.8, 0.7, 0.45, 0.55]


@st.composite
def cameras(draw):
    """Some cameras anywhere, with lenses of their own."""
    count = draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    places = random.normal(size=(count, 3)) * 3 + [0, 0, 0.1]
    return Camera(look_at(places, random.normal(size=(count, 3)) * 0.2), random.uniform(0.3, 1.5, (count, 4)))


@given(cameras())
@settings(max_examples=50, deadline=None)
def test_records_come_back(camera):
    for again in (
        Camera.from_source_record(camera.source_record()),
        Camera.from_render_record(camera.render_record()),
    ):
        np.testing.assert_array_equal(again.c2w, camera.c2w)
        np.testing.assert_array_equal(again.intrinsics, camera.intrinsics)


@given(cameras())
@settings(max_examples=50, deadline=None)
def test_other_axes_come_back(camera):
    opencv = Camera.from_opencv(camera.opencv(), camera.intrinsics)
    np.testing.assert_array_equal(opencv.c2w, camera.c2w)
    for axes in (True, False):
        again = Camera.from_w2c(camera.w2c(axes), camera.intrinsics, axes)
        np.testing.assert_allclose(again.c2w, camera.c2w, atol=2e-5)


@given(cameras())
@settings(max_examples=50, deadline=None)
def test_all_ways_to_an_image_agree(camera):
    """OpenCV's K [R | t], OpenGL's clip space and `project` put a point at one place."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3))
    uv, depth = camera.project(points)
    whole = np.concatenate([points, np.ones((5, 1))], 1)
    width, height = 320, 200
    local = np.einsum("nij,pj->npi", camera.w2c().astype(np.float64), whole)[..., :3]
    pixels = np.einsum("nij,npj->npi", camera.matrix(width, height).astype(np.float64), local)
    clip = np.einsum("nij,pj->npi", camera.mvp(0.01, 50).astype(np.float64), whole)
    seen = depth > 0.05
    np.testing.assert_allclose(local[..., 2][seen], depth[seen], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        pixels[..., 0][seen] / pixels[..., 2][seen] / width, uv[..., 0][seen], rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        pixels[..., 1][seen] / pixels[..., 2][seen] / height, uv[..., 1][seen], rtol=1e-3, atol=1e-3
    )
    device = clip[..., :2] / clip[..., 3:]
    np.testing.assert_allclose((device[..., 0][seen] + 1) / 2, uv[..., 0][seen], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose((1 - device[..., 1][seen]) / 2, uv[..., 1][seen], rtol=1e-3, atol=1e-3)


def test_depth_of_the_clip_space():
    camera = Camera.canonical(2.0)
    for distance, expected in ((0.5, -1.0), (8.0, 1.0)):
        x, y, z, w = camera.mvp(0.5, 8.0) @ [0, distance - 2, 0, 1]
        assert (x, y) == pytest.approx((0, 0), abs=1e-6) and z / w == pytest.approx(expected, abs=1e-5)


def test_written_out():
    """The default camera: the record's numbers, its axes, and OpenCV's."""
    camera = Camera.canonical(2.0, LENS)
    lens = np.float32(LENS).tolist()
    assert camera.source_record().tolist() == [1, 0, 0, 0, 0, 0, -1, -2, 0, 1, 0, 0, *lens]
    fx, fy, cx, cy = lens
    expected = [1, 0, 0, 0, 0, 0, -1, -2, 0, 1, 0, 0, 0, 0, 0, 1, fx, 0, cx, 0, fy, cy, 0, 0, 1]
    assert camera.render_record().tolist() == expected
    assert camera.shape == () and camera.centers.tolist() == [0, -2, 0]
    # OpenCV: x right, y down, z forward, which is along +Y of the world.
    assert camera.opencv()[:3, :3].T.tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]


def test_pixels():
    matrix = [[192, 0, 128], [0, 210, 150], [0, 0, 1]]
    camera = Camera.from_pixels(turntable(3), matrix, 256, 300)
    np.testing.assert_allclose(camera.intrinsics, [[0.75, 0.7, 0.5, 0.5]] * 3)
    np.testing.assert_allclose(camera.matrix(256, 300)[1], matrix, rtol=1e-6)
    with pytest.raises(UserError, match="skew"):
        Camera.from_pixels(turntable(1), [[192, 3, 128], [0, 192, 128], [0, 0, 1]], 256, 256)


def test_some_of_them():
    camera = Camera(turntable(6), LENS)
    assert len(camera) == 6 and camera[2:4].shape == (2,) and camera[0].shape == () and camera[[5, 1]].shape == (2,)
    stacked = Camera.stack([camera, camera])
    assert stacked.shape == (2, 6) and stacked[:, 0].shape == (2,) and stacked[1, 2].shape == ()
    np.testing.assert_array_equal(stacked[1, 2].c2w, camera[2].c2w)
    assert camera[None].shape == (1, 6)


def test_turned_to_the_canonical_one():
    camera = Camera(look_at([[3, 0, 0], [0, 3, 1]]), LENS).normalized()
    np.testing.assert_allclose(camera[0].c2w, Camera.canonical(3.0).c2w, atol=1e-6)
    np.testing.assert_array_equal(camera.intrinsics, np.float32([LENS, LENS]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Camera(np.eye(3)), r"poses have shape \(3, 3\)"),
        (lambda: Camera(np.eye(4), [1, 1, 1]), r"intrinsics have shape \(3,\)"),
        (lambda: Camera.from_render_record(np.zeros((2, 16))), r"records have shape \(2, 16\).*25"),
        (lambda: Camera.from_source_record(np.zeros(25)), r"records have shape \(25,\).*16"),
        (lambda: Camera.from_w2c(np.zeros((4, 4))), "no inverse"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(UserError, match=words):
        make()
