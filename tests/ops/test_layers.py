"""Layers against formulas in numpy."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.ops import AddBias, LayerNorm, Linear, gelu, linear, silu

erf = np.vectorize(math.erf)


class Weighted(nn.Cell):
    """A number that depends on every output of a cell or function."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def construct(self, weight, *inputs):
        return (self.inner(*inputs) * weight).sum()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(actual: Tensor, expected: np.ndarray, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(mode, bias):
    layer = Linear(4, 6, bias=bias)
    x, upstream = random(2, 3, 4), random(2, 3, 6, seed=1)
    weight = layer.weight.asnumpy()
    close(layer(Tensor(x)), x @ weight.T + (layer.bias.asnumpy() if bias else 0))
    gradient_x, gradients = ms.grad(Weighted(layer), 1, layer.trainable_params())(Tensor(upstream), Tensor(x))
    close(gradient_x, upstream @ weight)
    close(gradients[0], np.einsum("nlo,nli->oi", upstream, x))
    assert len(gradients) == 1 + bias
    if bias:
        close(gradients[1], upstream.sum((0, 1)))


def test_fresh_weights_are_uniform_in_their_bound():
    layer = Linear(16, 1000)
    for values in (layer.weight.asnumpy(), layer.bias.asnumpy()):
        assert 0.24 < np.abs(values).max() <= 0.25
        assert values.std() == pytest.approx(0.25 / math.sqrt(3), rel=0.1)
    assert not Linear(16, 10, zero_bias=True).bias.asnumpy().any()


def test_add_bias_gradient(mode):
    x, bias, upstream = random(50, 7), random(7, seed=1), random(50, 7, seed=2)
    close(AddBias()(Tensor(x), Tensor(bias)), x + bias)
    of_x, of_bias = ms.grad(Weighted(AddBias()), (1, 2))(Tensor(upstream), Tensor(x), Tensor(bias))
    close(of_x, upstream)
    close(of_bias, upstream.sum(0), 1e-5)


def norm(x: np.ndarray, layer: LayerNorm, eps: float) -> np.ndarray:
    x = x.astype(float)
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return scaled * layer.weight.asnumpy() + layer.bias.asnumpy()


@pytest.fixture
def layer() -> LayerNorm:
    layer = LayerNorm(8, eps=1e-2)
    layer.weight.set_data(Tensor(random(8, seed=3)))
    layer.bias.set_data(Tensor(random(8, seed=4)))
    return layer


@pytest.mark.parametrize("samples", [1, 2])
def test_layer_norm(mode, layer, samples):
    """An epsilon that shows, per-sample modulation, and none."""
    x = random(samples, 5, 8)
    shift, scale = random(samples, 8, seed=5), random(samples, 8, seed=6)
    close(layer(Tensor(x)), norm(x, layer, 1e-2))
    expected = norm(x, layer, 1e-2) * (1 + scale[:, None]) + shift[:, None]
    close(layer(Tensor(x), Tensor(shift), Tensor(scale)), expected, 5e-6)


def test_layer_norm_gradients(mode, layer):
    """Of the modulation and the affine part, by their formulas."""
    x, upstream = random(2, 5, 8), random(2, 5, 8, seed=7)
    shift, scale = random(2, 8, seed=5), random(2, 8, seed=6)
    inputs = [Tensor(a) for a in (upstream, x, shift, scale)]
    (of_shift, of_scale), of_affine = ms.grad(Weighted(layer), (2, 3), layer.trainable_params())(*inputs)
    plain = norm(x, layer, 1e-2)
    scaled = (plain - layer.bias.asnumpy()) / layer.weight.asnumpy()
    close(of_shift, upstream.sum(1), 1e-5)
    close(of_scale, (upstream * plain).sum(1), 2e-5)
    gains = upstream * (1 + scale[:, None])
    close(of_affine[0], (gains * scaled).sum((0, 1)), 3e-5)
    close(of_affine[1], gains.sum((0, 1)), 2e-5)


X = np.linspace(-6, 6, 241, dtype=np.float32)


def test_gelu(mode):
    """x Phi(x) and its slope Phi(x) + x phi(x)."""
    phi = np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)
    cumulative = (1 + erf(X / math.sqrt(2))) / 2
    close(gelu(Tensor(X)), X * cumulative)
    close(ms.grad(Weighted(gelu), 1)(Tensor(np.ones_like(X)), Tensor(X)), cumulative + X * phi)


def test_silu(mode):
    sigmoid = 1 / (1 + np.exp(-X.astype(float)))
    close(silu(Tensor(X)), X * sigmoid)
    close(ms.grad(Weighted(silu), 1)(Tensor(np.ones_like(X)), Tensor(X)), sigmoid * (1 + X * (1 - sigmoid)))


# Compiled loops stand for the kernels in PyNative on a CPU; sizes beyond one task and off the width of a row.


@pytest.mark.parametrize("shape", [(1,), (3, 21), (64,), (2, 300, 257)])
def test_gelu_and_its_gradient_of_any_size(pynative, shape):
    x, weight = random(*shape) * 4, random(*shape, seed=1)
    x.reshape(-1)[0] = -60
    below = 0.5 * (1 + erf(x.astype(float) / math.sqrt(2)))
    close(gelu(Tensor(x)), x * below)
    slope = below + x * np.exp(-(x.astype(float) ** 2) / 2) / math.sqrt(2 * math.pi)
    close(ms.grad(Weighted(gelu), 1)(Tensor(weight), Tensor(x)), weight * slope)


def test_layer_norm_gradients_over_many_rows(pynative):
    layer = LayerNorm(33)
    layer.weight.set_data(Tensor(random(33, seed=2)))
    x, weight = random(2, 2500, 33) + 3, random(2, 2500, 33, seed=1)
    (of_x, (of_weight, of_bias)) = ms.grad(Weighted(layer), 1, layer.trainable_params())(Tensor(weight), Tensor(x))
    rows, of_rows = x.astype(float).reshape(-1, 33), weight.astype(float).reshape(-1, 33)
    scale = 1 / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-6)
    normed = (rows - rows.mean(axis=1, keepdims=True)) * scale
    inner = of_rows * layer.weight.asnumpy()
    expected = scale * (inner - inner.mean(1, keepdims=True) - normed * (inner * normed).mean(1, keepdims=True))
    close(of_x, expected.reshape(x.shape), 2e-5)
    close(of_weight, (of_rows * normed).sum(0), 5e-4)
    close(of_bias, of_rows.sum(0), 5e-4)


def test_what_is_not_a_number_stays_so(pynative):
    x = random(2, 70)
    x[1, 3] = np.nan
    assert np.isnan(gelu(Tensor(x)).asnumpy()).sum() == 1
    assert np.isnan(LayerNorm(70)(Tensor(x[None])).asnumpy()[0]).all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize("rows", [16, 77, 130, 600])
@pytest.mark.parametrize("inner, width", [(64, 192), (256, 64)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_by_tiles(pynative, rows, inner, width, with_bias):
    x, weight, bias = random(rows, inner), random(width, inner, seed=1), random(width, seed=2)
    pull = random(rows, width, seed=3)
    inputs = [Tensor(a) for a in ((pull, x, weight, bias) if with_bias else (pull, x, weight))]
    exact = x.astype(float) @ weight.T + (bias if with_bias else 0)
    close(linear(*inputs[1:]), exact, 5e-5)
    gradients = ms.grad(Weighted(linear), tuple(range(1, len(inputs))))(*inputs)
    expected = [pull.astype(float) @ weight, pull.T.astype(float) @ x, pull.sum(0)]
    for found, wanted in zip(gradients, expected, strict=False):
        close(found, wanted, 2e-4)


def test_linear_takes_tiles_only_where_they_fit(pynative, monkeypatch):
    used = []
    monkeypatch.setattr("openlrm.ops.layers._host_linear", lambda: lambda x, *_: used.append(x.shape) or x)
    for rows, inner, width in [(16, 64, 64), (15, 64, 64), (16, 65, 64), (16, 64, 63), (200, 128, 64)]:
        linear(Tensor(random(rows, inner)), Tensor(random(width, inner)))
    assert used == [(16, 64), (200, 128)]


@pytest.mark.parametrize("dtype", [ms.float16, ms.float64])
def test_compiled_layers_say_what_they_take(dtype):
    x = Tensor(np.ones((32, 64)), dtype)
    for layer in (Linear(64, 64), LayerNorm(64), gelu):
        with pytest.raises(TypeError, match="compiled loops take float32"):
            layer(x)
