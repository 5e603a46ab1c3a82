"""Mask losses against their formulas."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.losses import mask_loss


def test_mean_squared_difference(pynative):
    weight, alpha = np.random.default_rng(0).random((2, 2, 1, 3, 4)).astype(np.float32)
    expected = np.mean((weight.astype(np.float64) - alpha) ** 2)
    assert float(mask_loss(Tensor(weight), Tensor(alpha)).asnumpy()) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy(pynative):
    """ln 2 for a coin toss; least where the opacity is the alpha."""
    half = Tensor(np.full((2, 3), 0.5, np.float32))
    assert float(mask_loss(half, half, "bce").asnumpy()) == pytest.approx(np.log(2), rel=1e-6)
    levels = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    values = [float(mask_loss(Tensor([w]), Tensor([np.float32(0.3)]), "bce").asnumpy()) for w in levels]
    assert levels[np.argmin(values)] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_cross_entropy_of_a_certain_mistake_is_finite_and_has_a_gradient(wrong, pynative):
    value, slope = ms.value_and_grad(lambda w, a: mask_loss(w, a, "bce"))(Tensor([wrong]), Tensor([1 - wrong]))
    assert float(value.asnumpy()) == pytest.approx(-np.log(1e-4), rel=1e-3)
    slope = float(slope.asnumpy()[0])
    assert np.isfinite(slope) and (slope > 0) == (wrong == 1) and abs(slope) > 1000
