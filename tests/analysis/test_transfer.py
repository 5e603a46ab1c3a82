"""Gains of the golden linear decoder, impact, causal corrections."""

from itertools import pairwise

import numpy as np
import pytest

from openlrm.analysis import spectrum, transfer
from openlrm.analysis.bands import band_mask, frequencies
from openlrm.analysis.noise import band_noise, draw_spectrum
from openlrm.analysis.splits import decompose, split


@pytest.fixture(scope="module")
def edges(freq_golden):
    return freq_golden["H/edges"]


def test_the_decoder_itself(freq_golden, decode, close):
    close(decode(freq_golden["small/ref"]), freq_golden["decoder/image_ref"])


def test_transfer_function(freq_golden, decode, edges, close):
    found = {"parity": [], "l1": [], "rms": []}
    for low, high in pairwise(edges):
        noise = band_noise(freq_golden["noise/draws"], low, high, 0.5)
        parity = band_noise(freq_golden["noise/draws"], low, high, 0.5, "parity")
        found["l1"].append(transfer.gain_l1(decode(noise), noise))
        found["rms"].append(transfer.gain_rms(decode(noise), noise))
        found["parity"].append(transfer.gain_parity(decode(parity), 0.5))
    for key, values in found.items():
        close(values, freq_golden[f"H/{key}"])
    close(transfer.gain_shares(found["parity"]), freq_golden["H/shares_parity"])


def test_gain_is_that_of_the_decoder_within_its_noise(freq_golden, decode, edges):
    random = np.random.default_rng(0)
    for band, expected in enumerate(freq_golden["H/exact_rms"]):
        squares = []
        for _ in range(60):
            noise = band_noise(draw_spectrum(random, (3, 8, 16, 16)), edges[band], edges[band + 1], 0.05)
            squares.append(transfer.gain_rms(decode(noise), noise) ** 2)
        error = np.std(squares, ddof=1) / np.sqrt(len(squares))
        assert abs(np.mean(squares) - expected**2) < 4 * error and error < 0.1 * expected**2


def test_impact(freq_golden, residual, edges, close):
    power = spectrum.band_power(residual, edges)
    close(transfer.effective_impact(power, freq_golden["H/rms"]), freq_golden["H/impact"])
    magnitude = spectrum.band_shares(residual, edges, "magnitude", pooled=True)
    found = transfer.effective_impact(magnitude, freq_golden["H/parity"], "parity")
    close(found, freq_golden["H/impact_parity"])


def test_impact_is_the_share_of_the_error_of_a_linear_decoder_of_incoherent_bands(decode, edges):
    """Averaged over residuals, whose bands have no phase in common."""
    random = np.random.default_rng(1)
    f = frequencies(16, 16)
    gain, error, power = np.zeros((3, 5, 200))
    for draw in range(200):
        planes = random.standard_normal((3, 8, 16, 16))
        for band in range(5):
            part = np.fft.ifft2(np.fft.fft2(planes) * band_mask(f, edges[band], edges[band + 1])).real
            change = decode(part)
            gain[band, draw] = transfer.gain_rms(change, part) ** 2
            error[band, draw], power[band, draw] = (change**2).sum(), (part**2).sum()
    found = transfer.effective_impact(power.mean(1), np.sqrt(gain.mean(1)))
    np.testing.assert_allclose(found, error.mean(1) / error.mean(1).sum(), atol=0.02)


def test_causal_table(freq_golden, residual, decode, close):
    predicted, reference = freq_golden["small/pred"], decode(freq_golden["small/ref"])

    def error(planes):
        return transfer.mean_absolute(decode(planes) - reference)

    rows, before = [], error(predicted)
    for cutoff in freq_golden["small/cutoffs"]:
        low, high = split(residual, cutoff)
        errors = [error(predicted - low), error(predicted - high)]
        gains = [transfer.improvement(value, before) for value in errors]
        shares = [spectrum.band_shares(residual, (0, cutoff), pooled=True)[0]]
        shares.append(1 - shares[0])
        g = [transfer.gain_rms(decode(part), part) for part in (low, high)]
        a = transfer.amplification(gains[0], shares[0], gains[1], shares[1])
        if gains[1] <= 0:
            assert a is None
            a = gains[0] / shares[0] / (gains[1] / shares[1])
        rows.append([cutoff, before, *errors, *gains, *shares, a, *g, g[0] / g[1]])
    close(np.array(rows) / freq_golden["causal/table"], np.ones((5, 12)), 1e-9)


def test_decomposition(freq_golden, residual, decode, close):
    parts = decompose(residual, 0.3)
    corrections = [0, parts.dc, parts.structured, parts.dc + parts.structured, parts.high, residual]
    reference = decode(freq_golden["small/ref"])
    errors = [transfer.mean_absolute(decode(freq_golden["small/pred"] - part) - reference) for part in corrections]
    close(errors, freq_golden["causal/decomposition"])
    assert errors[-1] < 1e-15


def test_the_studys_ten_bands():
    """Figures read off the published curve of `stone`."""
    figures = transfer.low_pass_figures([0.0275, 0.029, 0.029, 0.0255, 0.0225, 0.020, 0.0175, 0.0155, 0.013, 0.0115])
    assert figures["first_over_last"] == pytest.approx(2.4, abs=0.01)
    assert figures["low_over_high"] == pytest.approx(1.98, abs=0.005)
    assert sum(figures["thirds"]) == pytest.approx(1)
