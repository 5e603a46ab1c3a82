"""The Hartley transform against numpy's FFT."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.ops import hartley

SHAPES = [(2, 3, 8, 8), (1, 9, 7), (5, 12), (1, 1, 1), (2, 33, 20)]


@pytest.mark.parametrize("shape", SHAPES)
def test_filters_as_a_fourier_transform_does(shape, mode):
    """A weight of |ky| and |kx| alone, whatever it is."""
    random = np.random.default_rng(0)
    x = random.standard_normal(shape).astype(np.float32)
    rows, columns = (np.minimum(np.arange(n), -np.arange(n) % n) for n in shape[-2:])
    weight = random.random((rows.max() + 1, columns.max() + 1))[rows][:, columns].astype(np.float32)
    found = hartley(hartley(Tensor(x)) * Tensor(weight)).asnumpy()
    expected = np.fft.ifft2(np.fft.fft2(x.astype(float)) * weight)
    np.testing.assert_allclose(found, expected.real, atol=3e-6)
    assert np.abs(expected.imag).max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_its_own_inverse_with_itself_as_gradient(shape, mode):
    x, other = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    np.testing.assert_allclose(hartley(hartley(Tensor(x))).asnumpy(), x, atol=3e-6)

    def product(x, other):
        return (hartley(x) * other).sum()

    gradient = ms.grad(product)(Tensor(x), Tensor(other))
    np.testing.assert_allclose(gradient.asnumpy(), hartley(Tensor(other)).asnumpy(), atol=3e-6)


def test_large_sizes_are_exact(pynative):
    """Parseval at 1023 x 512, where angles taken as they are would reach 3,000 turns."""
    x = np.random.default_rng(0).standard_normal((1023, 512)).astype(np.float32)
    found, exact = hartley(Tensor(x)).asnumpy(), np.fft.fft2(x.astype(float)) / np.sqrt(x.size)
    mirrored = np.roll(exact[:, ::-1], 1, 1)
    expected = mirrored.real - exact.imag  # cas a cas b = cos(a - b) + sin(a + b)
    np.testing.assert_allclose((found.astype(float) ** 2).sum(), (x.astype(float) ** 2).sum(), rtol=1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-5)
