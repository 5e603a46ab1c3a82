"""Shares, densities, radial curves, coherence."""

import numpy as np
import pytest

from openlrm.analysis import spectrum
from openlrm.analysis.bands import band_mask, frequencies


@pytest.fixture(params=["small", "big"])
def case(request, residual, freq_golden):
    planes = residual if request.param == "small" else request.getfixturevalue("big")
    return planes, {k.split("/")[1]: v for k, v in freq_golden.items() if k.startswith(request.param)}


def test_shares(case, close):
    planes, golden = case
    close(spectrum.band_shares(planes, (0, 0.15, 0.4, 1), definitions="parity"), golden["share_parity"])
    for quantity in ("power", "magnitude"):
        close(spectrum.band_shares(planes, quantity=quantity), golden[f"share_{quantity}"])
        close(spectrum.band_shares(planes, quantity=quantity, pooled=True), golden[f"share_{quantity}_pooled"])
    close(spectrum.bin_shares(*planes.shape[-2:]), golden["bin_share"])
    close(spectrum.band_density(planes), golden["density"])
    close(spectrum.dc_share(planes), golden["share_dc"])


def test_radial(case, close):
    planes, golden = case
    close(spectrum.radial_curve(planes), golden["radial"])
    close(spectrum.radial_curve(planes, "parity"), golden["radial_parity"])


def test_share_below_a_cutoff_and_parseval(case, close):
    planes, golden = case
    found = [spectrum.band_shares(planes, (0, cutoff), pooled=True)[0] for cutoff in golden["cutoffs"]]
    close(found, golden["low_share_by_cutoff"])
    bins = planes.shape[2] * planes.shape[3]
    close([(planes**2).sum(), spectrum.energy(planes).sum() / bins], golden["parseval"])


def test_coherence(residual, freq_golden, close):
    close(spectrum.coherence(residual, freq_golden["small/again"]), freq_golden["small/coherence"])


@pytest.mark.parametrize("shape", [(16, 16), (9, 7)])
def test_properties(shape):
    planes = np.random.default_rng(0).standard_normal((3, 4, *shape))
    np.testing.assert_allclose(spectrum.band_shares(planes).sum(1), 1)
    np.testing.assert_allclose(spectrum.coherence(planes, planes), 1)
    np.testing.assert_allclose(spectrum.coherence(planes, -2 * planes), -1)
    np.testing.assert_allclose(spectrum.bin_shares(*shape).sum(), 1)
    edges = (0, 0.15, 0.4, 1, np.inf)
    bins = np.prod(shape)
    np.testing.assert_allclose(spectrum.band_power(planes, edges).sum(), (planes**2).sum() * bins)


def test_white_noise_has_density_one_and_its_share_is_that_of_the_bins():
    planes = np.random.default_rng(0).standard_normal((3, 48, 64, 64))
    np.testing.assert_allclose(spectrum.band_density(planes, pooled=True), 1, atol=0.03)
    np.testing.assert_allclose(100 * spectrum.bin_shares(64, 64), [1.7, 10.7, 65.8, 21.8], atol=0.05)


def test_one_wave_lies_in_one_ring():
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16) * np.ones((16, 1))
    curve = spectrum.radial_curve(wave[None, None])[0]
    assert np.argmax(curve) == 3 and curve[3] > 1 and np.delete(curve, 3).max() < 1e-20
    mask = band_mask(frequencies(16, 16), 3 / 8, 4 / 8)
    np.testing.assert_allclose(curve[3], 256 * (wave**2).sum() / mask.sum())


def test_nothing_has_no_shares():
    zeros = np.zeros((3, 2, 8, 8))
    assert not spectrum.band_shares(zeros).any() and not spectrum.dc_share(zeros).any()
    assert not spectrum.coherence(zeros, np.ones_like(zeros)).any()
