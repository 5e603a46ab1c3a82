"""Layers against formulas in numpy."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.ops import AddBias, LayerNorm, Linear, gelu, silu

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
