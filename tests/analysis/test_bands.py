"""Frequencies and masks."""

from itertools import pairwise

import numpy as np
import pytest

from openlrm.analysis.bands import SPECTRUM_EDGES, band_index, band_mask, equal_bands, frequencies, low_mask
from openlrm.errors import UserError

SIZES = ["16x16", "17x15", "12x20", "32x32", "64x64"]


@pytest.mark.parametrize("size", SIZES)
def test_bins_below_each_cutoff(size, freq_golden):
    shape = [int(side) for side in size.split("x")]
    for definitions, key in (("consistent", "bins"), ("parity", "bins_parity")):
        counts = [low_mask(*shape, cutoff, definitions).sum() for cutoff in freq_golden["small/cutoffs"]]
        np.testing.assert_array_equal(counts, freq_golden[f"{key}/{size}"])


@pytest.mark.parametrize("size", ["16x16", "17x15"])
def test_masks(size, freq_golden):
    shape = [int(side) for side in size.split("x")]
    np.testing.assert_array_equal(low_mask(*shape, 0.3), freq_golden[f"mask/{size}"])
    parity = np.fft.fftshift(low_mask(*shape, 0.3, "parity"))
    np.testing.assert_array_equal(parity, freq_golden[f"mask_parity_shifted/{size}"])


@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (5, 12), (1, 4)])
def test_symmetry_and_unit(shape):
    frequency = frequencies(*shape)
    mirrored = np.roll(frequency[::-1, ::-1], (1, 1), (0, 1))
    np.testing.assert_array_equal(frequency, mirrored)
    assert frequency[0, 0] == 0 and frequency.max() <= np.sqrt(2)
    if shape == (8, 8):
        assert frequency[4, 0] == frequency[0, 4] == 1
        np.testing.assert_allclose(frequency, frequencies(*shape, "parity"), atol=1e-15)


def test_a_bin_on_a_limit_lies_on_it():
    """20 texels have bins at exactly 0.3, which rounding puts on either side."""
    frequency = frequencies(20, 20)
    assert frequency[3, 0] == pytest.approx(0.3, abs=1e-12)
    assert not band_mask(frequency, 0, 0.3)[3, 0] and band_mask(frequency, 0.3, 1)[3, 0]
    index = band_index(frequency, SPECTRUM_EDGES)
    assert index.min() == 0 and index.max() == 3
    edges = equal_bands(10)
    bands = [band_mask(frequency, low, high) for low, high in pairwise(edges)]
    np.testing.assert_array_equal(np.sum(bands, 0), frequency < 1 - 1e-12)


@pytest.mark.parametrize("cutoff", [0, -0.1, 1.5, float("nan")])
def test_a_cutoff_that_cuts_nothing(cutoff):
    with pytest.raises(UserError, match=r"does not cut the frequencies of 16 x 16 maps. choose one above 0 and up to"):
        low_mask(16, 16, cutoff)


def test_no_bands():
    with pytest.raises(UserError, match="0 frequency bands"):
        equal_bands(0)
