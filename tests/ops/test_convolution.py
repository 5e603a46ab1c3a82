"""3x3 convolution and channel normalisation against their formulas, with gradients."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from openlrm.ops import conv3x3, unit_channels


class Weighted(nn.Cell):
    """A number that depends on every output."""

    def __init__(self, function, weights: np.ndarray):
        super().__init__()
        self.function, self.weights = function, Tensor(weights)

    def construct(self, *inputs):
        return (self.function(*inputs) * self.weights).sum()


def draw(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def gradients(cell: nn.Cell, inputs: list[np.ndarray], mode: int) -> list[np.ndarray]:
    function = ms.grad(cell, tuple(range(len(inputs))))
    function = ms.jit(function) if mode == 0 else function
    result = function(*map(Tensor, inputs))
    return [part.asnumpy() for part in (result if isinstance(result, tuple) else (result,))]


def by_definition(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Sum over the nine shifts, in float64."""
    height, width = x.shape[2:]
    margin = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifts = [(i, j, margin[:, :, i : i + height, j : j + width]) for i in range(3) for j in range(3)]
    return sum(np.einsum("nchw,dc->ndhw", part, weight[:, :, i, j]) for i, j, part in shifts) + bias[:, None, None]


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 4, 1, 1), (3, 1, 2, 6)])
def test_convolution(shape, mode):
    n, channels, height, width = shape
    inputs = draw(shape, (6, channels, 3, 3), (6,))
    np.testing.assert_allclose(conv3x3(*map(Tensor, inputs)).asnumpy(), by_definition(*inputs), atol=1e-5)
    (weights,) = draw((n, 6, height, width))
    got = gradients(Weighted(conv3x3, weights), inputs, mode)
    # The function is linear in each argument: its derivative along a direction is a difference.
    for index, direction in enumerate(draw(*(value.shape for value in inputs))):
        step = [value + (direction if i == index else 0) for i, value in enumerate(inputs)]
        slope = ((by_definition(*step) - by_definition(*inputs)) * weights).sum()
        assert (got[index] * direction).sum() == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_products_equal_the_kernel_of_the_other_device(pynative):
    inputs = [Tensor(value) for value in draw((2, 3, 6, 5), (4, 3, 3, 3), (4,))]
    np.testing.assert_allclose(
        conv3x3(*inputs).asnumpy(), ops.conv2d(*inputs, pad_mode="pad", padding=1).asnumpy(), atol=1e-5
    )


@pytest.mark.parametrize("samples", [1, 3])
def test_unit_channels(samples, mode):
    x, weights = draw((samples, 5, 2, 3), (samples, 5, 2, 3))
    lengths = np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(unit_channels(Tensor(x)).asnumpy(), x / lengths, atol=1e-6)
    # The part of the weights across the pixel's direction, by the quotient rule.
    along = (weights * x).sum(1, keepdims=True) / lengths**2
    (got,) = gradients(Weighted(unit_channels, weights), [x], mode)
    np.testing.assert_allclose(got, (weights - along * x) / lengths, atol=1e-5)


def test_pixels_without_any_feature(mode):
    x, weights = draw((1, 5, 2, 2), (1, 5, 2, 2))
    x[:, :, 0] = 0
    assert (unit_channels(Tensor(x)).asnumpy()[:, :, 0] == 0).all()
    (got,) = gradients(Weighted(unit_channels, weights), [x], mode)
    assert np.isfinite(got).all()
