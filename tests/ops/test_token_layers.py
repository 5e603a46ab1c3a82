"""RMSNorm, SwiGLU and rotary positions: golden numbers, gradients, what rotary positions are for."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.ops.token_layers import RMSNorm, SwiGLU, grid_index, rotary_angles, rotate, swiglu_width


@pytest.fixture(scope="module")
def golden(request):
    with np.load(request.config.rootpath / "tests" / "golden" / "geolrm" / "layers.npz") as arrays:
        return dict(arrays)


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def test_golden_norm(golden, mode):
    norm = RMSNorm(48)
    norm.weight.set_data(Tensor(golden["ffn_norm.weight"]))
    near(norm(Tensor(golden["rms_in"])).asnumpy(), golden["rms_out"], 1e-6)


def test_golden_feed_forward(golden, mode):
    layer = SwiGLU(48)
    for name in ("w1", "w2", "w3"):
        getattr(layer, name).weight.set_data(Tensor(golden[f"feed_forward.{name}.weight"]))
    near(layer(Tensor(golden["ffn_in"])).asnumpy(), golden["ffn_out"], 1e-6)


def test_golden_rotation(golden, mode):
    angles = rotary_angles(Tensor(golden["rope_index"].astype(np.int32)), 48)
    near(rotate(Tensor(golden["rope_in"]), *angles).asnumpy(), golden["rope_out"], 5e-6)


def test_golden_positions(golden, pynative):
    found = grid_index(Tensor(golden["points"]), 24).asnumpy()
    assert np.array_equal(found, golden["rope_positions"])


@pytest.mark.parametrize("grid", [24, 128])
def test_lattice_points_keep_their_number(grid, pynative):
    numbers = np.arange(grid, dtype=np.float32)
    points = np.repeat((numbers / (grid - 1) - 0.5)[:, None], 3, 1).astype(np.float32)
    assert np.array_equal(grid_index(Tensor(points), grid).asnumpy()[:, 0], numbers)


def test_rotation_keeps_norms_and_sees_differences_only(pynative):
    rng = np.random.default_rng(0)
    query, key = (Tensor(rng.normal(size=(1, 9, 2, 24)).astype(np.float32)) for _ in range(2))
    here, there = (rng.integers(0, 100, (1, 9, 3)) for _ in range(2))

    def turned(x, index):
        return rotate(x, *rotary_angles(Tensor(index.astype(np.int32)), 24)).asnumpy().astype(float)

    np.testing.assert_allclose((turned(query, here) ** 2).sum(-1), (query.asnumpy() ** 2).sum(-1), rtol=1e-5)
    scores = (turned(query, here) * turned(key, there)).sum(-1)
    moved = np.array([7, -3, 20])
    np.testing.assert_allclose((turned(query, here + moved) * turned(key, there + moved)).sum(-1), scores, atol=1e-4)
    assert np.abs((turned(query, here + moved) * turned(key, there)).sum(-1) - scores).max() > 0.1


def test_gradients_equal_finite_differences(mode):
    rng = np.random.default_rng(0)
    x, upstream = (rng.normal(size=(2, 3, 12)).astype(np.float32) for _ in range(2))
    index = Tensor(rng.integers(0, 20, (2, 3, 3)).astype(np.int32))
    norm, feed, angles = RMSNorm(12), SwiGLU(12, 24), rotary_angles(index, 12)

    def total(x):
        y = feed(norm(x))
        return (rotate(y.reshape(2, 3, 1, 12), *angles).reshape(2, 3, 12) * Tensor(upstream)).sum()

    found = ms.grad(total)(Tensor(x)).asnumpy()
    w1, w2, w3 = (getattr(feed, name).weight.asnumpy().astype(float) for name in ("w1", "w2", "w3"))
    cosines, sines = (part.asnumpy().astype(float) for part in angles)

    def in_numpy(x):
        y = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        hidden = y @ w1.T
        y = (hidden / (1 + np.exp(-hidden)) * (y @ w3.T)) @ w2.T
        u, v = np.moveaxis(y.reshape(2, 3, 3, 2, 2), 3, 0)
        return (np.stack([u * cosines - v * sines, v * cosines + u * sines], 3).reshape(2, 3, 12) * upstream).sum()

    wanted = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        ends = [x.astype(float), x.astype(float)]
        ends[0][place] += 1e-5
        ends[1][place] -= 1e-5
        wanted[place] = (in_numpy(ends[0]) - in_numpy(ends[1])) / 2e-5
    near(found, wanted, 1e-4)


def test_widths():
    assert swiglu_width(384) == 1024 and swiglu_width(768) == 2048 and swiglu_width(96) == 256
    with pytest.raises(ValueError, match="multiple of 6, not 64"):
        rotary_angles(Tensor(np.zeros((1, 3), np.int32)), 64)
