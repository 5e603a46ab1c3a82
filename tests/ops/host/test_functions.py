"""The functions of the compiled loops against float64."""

import numpy as np
import pytest
from numba import njit
from scipy import special

from openlrm.ops.host import functions
from openlrm.ops.host.tiles import aligned, mix_rows

X = np.concatenate([np.linspace(-87, 87, 20001), [0, -0.0, 1e-30, -1e-30]]).astype(np.float32)


def over(function, x: np.ndarray) -> np.ndarray:
    """By a loop, as the kernels use them."""

    @njit(fastmath=functions.EXACT, **functions.DIVIDES)
    def loop(x, out):
        for j in range(len(x)):
            out[j] = function(x[j])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize(
    ("name", "exact", "tolerance"),
    [
        ("power_of_two", np.exp2, 3e-7),
        # Rounding of x times log2(e) counts 87 times.
        ("exponential", np.exp, 6e-6),
        ("softplus", lambda x: np.logaddexp(0, x), 6e-6),
        ("sigmoid", special.expit, 6e-6),
    ],
)
def test_accuracy(name, exact, tolerance):
    """Relative, down to the smallest results."""
    found, expected = over(getattr(functions, name), X), exact(X.astype(np.float64))
    assert np.abs(found / expected - 1).max() < tolerance


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("power_of_two", 0, None), ("exponential", 0, None), ("softplus", 0, np.inf), ("sigmoid", 0, 1)],
)
def test_far_out(name, low, high):
    """Infinities go to the limits, a NaN stays one."""
    below, above, none = over(getattr(functions, name), np.array([-np.inf, np.inf, np.nan], np.float32))
    assert abs(below - low) < 2e-38 and np.isnan(none)
    assert high is None or above == high


def test_rows_are_mixed():
    rng = np.random.default_rng(0)
    table, bias = rng.standard_normal((9, 64)).astype(np.float32), rng.standard_normal(64).astype(np.float32)

    @njit
    def run(table, shares, bias):
        out = aligned(64)
        mix_rows(table, (np.int64(7), np.int64(64), np.int64(511)), (shares[0], shares[1], shares[2]), bias, out)
        return out

    shares = np.array([0.5, -2, 3], np.float32)
    flat = table.reshape(-1)
    expected = np.maximum(bias + 0.5 * flat[7:71] - 2 * flat[64:128] + 3 * flat[511:575], 0)
    np.testing.assert_allclose(run(flat, shares, bias), expected, atol=1e-6)
    assert (expected == 0).any()
    flat[511 + 5] = np.nan
    assert np.isnan(run(flat, shares, bias)).nonzero()[0].tolist() == [5]
