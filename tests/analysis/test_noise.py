"""Band noise."""

import numpy as np
import pytest

from openlrm.analysis.bands import equal_bands
from openlrm.analysis.noise import band_noise, draw_spectrum
from openlrm.analysis.spectrum import band_shares
from openlrm.errors import UserError


def test_golden_bands(freq_golden, close):
    edges = freq_golden["H/edges"]
    np.testing.assert_array_equal(edges, equal_bands(5))
    for band in (0, 3):
        for definitions, suffix in (("consistent", ""), ("parity", "_parity")):
            found = band_noise(freq_golden["noise/draws"], edges[band], edges[band + 1], 0.5, definitions)
            close(found, freq_golden[f"noise/band{band}{suffix}"])


def test_golden_64(freq_golden, close):
    random = np.random.RandomState(12)
    draws, rows = draw_spectrum(random, (3, 4, 64, 64)), []
    for band in (0, 9):
        for definitions in ("parity", "consistent"):
            maps = band_noise(draws, band / 10, (band + 1) / 10, 0.5, definitions)
            first = maps[0, 0]
            rows.append([first.std(ddof=1), np.sqrt((first**2).mean()), first.mean(), maps[2, 3, 5, 7]])
    close(rows, freq_golden["noise64/std_rms_mean_sample"])


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (5, 9, 7)])
def test_strength_and_band(shape):
    maps = band_noise(draw_spectrum(np.random.default_rng(0), shape), 0.25, 0.75, 0.3)
    np.testing.assert_allclose(np.sqrt((maps**2).mean((-2, -1))), 0.3)
    planes = maps.reshape(1, -1, *shape[-2:])
    np.testing.assert_allclose(band_shares(planes, (0, 0.25, 0.75, np.inf)), [[0, 1, 0]], atol=1e-15)


def test_a_band_of_the_mean_alone():
    """16-texel planes in ten bands: the first holds DC alone, which has no standard deviation."""
    draws = draw_spectrum(np.random.default_rng(0), (3, 2, 16, 16))
    with pytest.raises(UserError, match=r"the band \[0, 0.1\) holds only the mean of 16 x 16 maps"):
        band_noise(draws, 0, 0.1, 0.5, "parity")
    np.testing.assert_allclose(np.abs(band_noise(draws, 0, 0.1, 0.5)), 0.5)
    with pytest.raises(UserError, match=r"holds nothing of 16 x 16 maps"):
        band_noise(draws, 0.01, 0.02, 0.5)
