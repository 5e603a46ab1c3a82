"""Triplane sampling against hat functions, in every form it has."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.ops import build_table, sample_table
from openlrm.ops import sampling as sampling_module

# Column and row axis of the three planes, as the specification words it.
AXES = {"xy": (0, 1), "xz": (0, 2), "zy": (2, 1)}


def hats(coordinate: np.ndarray, texels: int) -> np.ndarray:
    """Weight (P, texels) of each texel: a triangle around its centre (2i + 1) / texels - 1, one texel wide each way."""
    position = (coordinate.astype(float) + 1) * texels / 2 - 0.5
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(texels)))


def weights_of(points: np.ndarray, texels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(hats(points[:, row], texels), hats(points[:, column], texels)) for column, row in AXES.values()]


def bilinear(planes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3, C, H, H), (P, 3) -> (P, 3 C); what lies outside has no texel, so it is zero."""
    parts = zip(planes.astype(float), weights_of(points, planes.shape[-1]), strict=True)
    return np.concatenate([np.einsum("chw,ph,pw->pc", plane, row, column) for plane, (row, column) in parts], axis=1)


def bilinear_gradient(upstream: np.ndarray, points: np.ndarray, texels: int) -> np.ndarray:
    """(P, 3 C) -> (3, C, H, H)."""
    parts = zip(np.split(upstream.astype(float), 3, axis=1), weights_of(points, texels), strict=True)
    return np.stack([np.einsum("pc,ph,pw->chw", part, row, column) for part, (row, column) in parts])


def scene(samples: int = 2, channels: int = 5, texels: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(samples, 3, channels, texels, texels)).astype(np.float32)
    free = rng.uniform(-1.4, 1.4, size=(samples, 300, 3))
    centres = (2 * rng.integers(0, texels, size=(samples, 20, 3)) + 1) / texels - 1
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(1, 8, 3)
    # On the borders, where the last texel has half its weight, just beyond its reach, and far away.
    special = np.array([[1 + 1 / texels, 0.1, 0.2], [0.3, -1 - 1 / texels, 0], [40, 0, 0], [0, 0, -1e4]])
    both = [np.repeat(part, samples // len(part), axis=0) for part in (corners, special[None])]
    return planes, np.concatenate([free, centres, *both], axis=1).astype(np.float32)


def sample(planes: np.ndarray, points: np.ndarray) -> np.ndarray:
    return sample_table(build_table(Tensor(planes)), Tensor(points), planes.shape[2]).asnumpy()


class Weighted(nn.Cell):
    """A number that depends on every feature."""

    def construct(self, planes, points, weight):
        return (sample_table(build_table(planes), points, planes.shape[2]) * weight).sum()


@pytest.fixture(params=["pynative", "graph", "ascend"])
def form(request, monkeypatch):
    """PyNative and graph mode on a CPU, and the arithmetic of an Ascend, run on a CPU."""
    from openlrm.ops import setup_device

    setup_device("CPU", 0 if request.param == "graph" else 1)
    if request.param == "ascend":
        monkeypatch.setattr(sampling_module, "on_ascend", lambda: True)
    yield request.param
    setup_device("CPU", 1)


@pytest.mark.parametrize("samples", [1, 2])
def test_values(form, samples):
    planes, points = scene(samples)
    expected = np.stack([bilinear(plane, where) for plane, where in zip(planes, points, strict=True)])
    assert not expected[:, -1, 5:].any(), "far away on z: nothing from the two planes that it belongs to"
    np.testing.assert_allclose(sample(planes, points), expected, rtol=0, atol=5e-6)


def test_texel_centres_are_exact(form):
    """A point at a texel's centre has its value; x is the column and y the row of the first plane."""
    planes, _ = scene(1)
    x, y, z = 2, 5, 7
    point = (2 * np.array([[[x, y, z]]], np.float32) + 1) / 8 - 1
    expected = np.concatenate([planes[0, 0, :, y, x], planes[0, 1, :, z, x], planes[0, 2, :, y, z]])
    np.testing.assert_allclose(sample(planes, point)[0, 0], expected, rtol=1e-6)


def test_gradient_of_the_planes(form):
    planes, points = scene()
    rng = np.random.default_rng(1)
    upstream = rng.normal(size=(2, points.shape[1], 15)).astype(np.float32)
    inputs = [Tensor(x) for x in (planes, points, upstream)]
    gradient, of_points = ms.grad(Weighted(), (0, 1))(*inputs)
    expected = [bilinear_gradient(u, where, 8) for u, where in zip(upstream, points, strict=True)]
    np.testing.assert_allclose(gradient.asnumpy(), np.stack(expected), rtol=0, atol=2e-5)
    assert not of_points.asnumpy().any(), "points get no gradient"
    # The features are linear in the planes: a difference over any step is the slope, but for rounding.
    direction = rng.normal(size=planes.shape).astype(np.float32)
    ends = [float(Weighted()(Tensor(planes + sign * direction), *inputs[1:]).asnumpy()) for sign in (1, -1)]
    assert (gradient.asnumpy() * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-4, abs=1e-3)


def test_large_planes(form):
    """Rows of the table stay exact at the released size."""
    planes, points = scene(1, channels=2, texels=64)
    np.testing.assert_allclose(sample(planes, points)[0], bilinear(planes[0], points[0]), rtol=0, atol=3e-5)


def test_points_that_may_move_get_the_slopes(pynative):
    """Within a texel's cell the features are linear in each coordinate: differences are exact there."""
    random = np.random.default_rng(0)
    planes = Tensor(random.standard_normal((2, 3, 4, 8, 8)).astype(np.float32))
    # In the middle of cells, some beyond the border.
    points = ((random.integers(-1, 9, (2, 50, 3)) + 0.25) / 4 - 1).astype(np.float32)
    pull = Tensor(random.standard_normal((2, 50, 12)).astype(np.float32))

    def total(points, movable=True):
        return (sample_table(build_table(planes), points, 4, movable) * pull).sum(2)

    slopes = ms.grad(lambda p: total(p).sum())(Tensor(points)).asnumpy()
    step = 0.02
    for axis in range(3):
        moved = np.zeros(3, np.float32)
        moved[axis] = step
        difference = (total(Tensor(points + moved)) - total(Tensor(points - moved))).asnumpy() / (2 * step)
        np.testing.assert_allclose(slopes[..., axis], difference, atol=2e-3 * np.abs(difference).max())
    assert not ms.grad(lambda p: total(p, movable=False).sum())(Tensor(points)).asnumpy().any()
