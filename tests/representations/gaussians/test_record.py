"""Gaussians as a whole: turned with the camera they look the same; quaternions; the head's activations."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mindspore import Tensor

from openlrm.cameras import Camera, orbit
from openlrm.errors import UserError
from openlrm.representations.gaussians import Gaussians
from openlrm.representations.gaussians.activation import activate
from openlrm.representations.gaussians.quaternions import from_matrix, multiply, to_matrix

FRONT = Camera(orbit(20, 10, 1.5), (1.2, 1.2, 0.5, 0.5))
QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


def unit(quaternion) -> np.ndarray:
    return np.array(quaternion) / np.linalg.norm(quaternion)


@given(QUATERNIONS, QUATERNIONS)
def test_quaternions_and_matrices_agree(a, b):
    a, b = unit(a), unit(b)
    np.testing.assert_allclose(to_matrix(multiply(a, b)), to_matrix(a) @ to_matrix(b), atol=1e-9)
    np.testing.assert_allclose(to_matrix(from_matrix(to_matrix(a))), to_matrix(a), atol=1e-9)


@pytest.mark.parametrize("half_turn", [np.diag([1, -1, -1]), np.diag([-1, 1, -1]), np.diag([-1, -1, 1])])
def test_half_turns(half_turn):
    np.testing.assert_allclose(to_matrix(from_matrix(half_turn)), half_turn, atol=1e-12)


def test_a_camera_turned_moved_and_scaled_with_them_sees_the_same(cloud):
    matrix, offset, factor = to_matrix(unit([0.3, -0.8, 0.5, 0.2])), np.array([0.2, -0.1, 0.4]), 2.5
    pose = FRONT.c2w.astype(float)
    pose = np.concatenate([matrix @ pose[:, :3], (factor * (matrix @ pose[:, 3] + offset))[:, None]], axis=1)
    changed = cloud.turned(matrix).moved(offset).scaled(factor)
    views = changed.render(Camera(pose, FRONT.intrinsics), (40, 50)), cloud.render(FRONT, (40, 50))
    for part, wanted, scale in zip(*views, (1, factor, 1), strict=True):
        np.testing.assert_allclose(part, scale * wanted, atol=2e-5)


@pytest.mark.parametrize("matrix", [np.diag([1, 1, -1]), 2 * np.eye(3), np.ones((3, 3)), np.eye(4)])
def test_only_rotations_turn(cloud, matrix):
    with pytest.raises(UserError, match="rotation matrix only"):
        cloud.turned(matrix)


def test_joined_parts_are_the_whole(cloud):
    first = np.arange(100) < 30
    joined = Gaussians.joined(cloud.kept(first), cloud.kept(~first))
    assert len(joined) == 100
    assert all(np.array_equal(a, b) for a, b in zip(joined.arrays(), cloud.arrays(), strict=True))


def test_shapes_are_checked(cloud):
    with pytest.raises(UserError, match=r"scales of Gaussians have shape \(100, 2\). expected \(100, 3\)"):
        Gaussians(cloud.means, cloud.scales[:, :2], *cloud.arrays()[2:])
    with pytest.raises(UserError, match="cannot be scaled by -1"):
        cloud.scaled(-1)


def test_orbit_renders_each_camera(cloud):
    cameras = Camera(np.stack([orbit(a, 10, 1.5) for a in (0, 90)]), FRONT.intrinsics)
    frames = list(cloud.orbit(cameras, (16, 16)))
    assert len(frames) == 2 and np.abs(frames[0][0] - frames[1][0]).max() > 0.05


def test_activations_of_the_golden_head(request, mode):
    """What a head's layers and activations make of golden latents; every sixth colour is beyond its range."""
    with np.load(request.config.rootpath / "tests" / "golden" / "geolrm" / "head.npz") as arrays:
        golden = dict(arrays)
    hidden = golden["latents"] @ golden["0.weight"].T + golden["0.bias"]
    raw = hidden / (1 + np.exp(-hidden)) @ golden["2.weight"].T + golden["2.bias"]
    found = activate(Tensor(raw), Tensor(golden["points"]), 0.2, 0.06)
    for name, part in zip(("means", "scales", "rotations", "opacities", "colors"), found, strict=True):
        wanted = golden[f"gaussians_{name}"]
        assert np.abs(part.asnumpy() - wanted).max() <= 1e-5 * np.abs(wanted).max(), name


def test_symmetric_offsets_and_limits_of_gradients(pynative):
    raw = np.zeros((1, 1, 28), np.float32)
    raw[0, 0, [11, 25]] = 0.7, 0.2  # red of the two Gaussians: beyond and within
    points = np.full((1, 1, 3), 0.1, np.float32)

    def total(raw, kind):
        means, scales, rotations, opacities, colors = activate(raw, Tensor(points), 0.2, 0.06, kind)
        return means.sum() + scales.sum() + rotations.sum() + opacities.sum() + colors.sum(), means

    for kind, middle in (("one_sided", 0.2), ("symmetric", 0.1)):
        (_, means), gradient = ms.value_and_grad(total, 0, has_aux=True)(Tensor(raw), kind)
        np.testing.assert_allclose(means.asnumpy(), middle, rtol=1e-6)
        gradient = gradient.asnumpy()[0, 0]
        assert np.isfinite(gradient).all() and gradient[11] == 0 and gradient[25] == 1
