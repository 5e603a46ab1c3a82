"""The golden linear decoder and the residual of the golden planes."""

import numpy as np
import pytest

from openlrm.analysis.bands import frequencies


@pytest.fixture
def close():
    """Compare with golden numbers, computed in float64."""

    def compare(found, expected, tolerance=1e-10):
        scale = max(np.abs(expected).max(), 1e-300)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)

    return compare


@pytest.fixture(scope="session")
def residual(freq_golden):
    """(3, 8, 16, 16)."""
    return freq_golden["small/pred"] - freq_golden["small/ref"]


@pytest.fixture(scope="session")
def decode(freq_golden):
    """Planes (3, 8, 16, 16) -> pictures (2, 3, 5, 6), linear."""
    rows, columns, colour = (freq_golden[f"decoder/{name}"] for name in ("rows", "cols", "colour"))
    return lambda planes: np.einsum("opc,vphy,pcyx,vpwx->vohw", colour, rows, planes, columns, optimize=True)


@pytest.fixture(scope="session")
def big():
    """Planes (3, 48, 64, 64) whose power falls with the frequency; a recipe, not stored."""
    white = np.random.RandomState(7).standard_normal((3, 48, 64, 64))
    return np.fft.ifft2(np.fft.fft2(white) / (0.05 + frequencies(64, 64)) ** 0.5).real
