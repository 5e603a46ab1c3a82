"""Splits of planes: golden parts, and that they are parts."""

import numpy as np
import pytest

from openlrm.analysis.splits import decompose, heat_map, split


def test_golden_parts(freq_golden, residual, close):
    low, high = split(residual, 0.3)
    close(low, freq_golden["small/low"])
    close(high, freq_golden["small/high"])
    parts = decompose(residual, 0.3)
    close(parts.dc[..., 0, 0], freq_golden["small/dc"])
    close(parts.structured, freq_golden["small/structured"])
    close(parts.high, freq_golden["small/high"])
    close(heat_map(residual), freq_golden["small/heat"])


def test_odd_sides(freq_golden, close):
    low, high = split(freq_golden["odd/planes"], 0.3)
    close(low, freq_golden["odd/low"])
    close(high, freq_golden["odd/high"])


def test_full_size(freq_golden, big, close):
    low, high = split(big, 0.3)
    parts = decompose(big, 0.3)
    wholes = [np.broadcast_to(part, big.shape) for part in (big, low, high, parts.structured, parts.dc)]
    close([(part**2).sum() for part in wholes], freq_golden["big/energies"])
    close([np.abs(part).mean() for part in wholes], freq_golden["big/absolute_means"])
    check = [big[0, 0, 0, 0], big[1, 20, 30, 40], big[2, 47, 63, 63], big.std()]
    close(check, freq_golden["big/check"])
    close(heat_map(big)[:, ::8, ::8], freq_golden["big/heat"])


@pytest.mark.parametrize("definitions", ["consistent", "parity"])
@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (6, 11)])
def test_parts_add_up_and_are_orthogonal(shape, definitions):
    maps = np.random.default_rng(0).standard_normal((2, 3, *shape))
    parts = decompose(maps, 0.5, definitions)
    np.testing.assert_allclose(parts.dc + parts.structured + parts.high, maps, atol=1e-14)
    whole = [np.broadcast_to(part, maps.shape) for part in parts]
    products = np.array([[(a * b).sum() for b in whole] for a in whole])
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-12)
    assert products[1, 1] > 0.01 and np.abs(parts.structured.mean((-2, -1))).max() < 1e-15
    again, nothing = split(split(maps, 0.5, definitions)[0], 0.5, definitions)
    np.testing.assert_allclose(again, parts.dc + parts.structured, atol=1e-14)
    assert np.abs(nothing).max() < 1e-14
