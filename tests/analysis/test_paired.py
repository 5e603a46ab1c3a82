"""Intervals, sign test, paired comparisons."""

import math

import numpy as np
import pytest

from openlrm.analysis.paired import compare_paired, estimate, fit_line, sign_test


def test_interval():
    """t of 4 degrees of freedom, 97.5 %: 2.776 (Student, 1908)."""
    found = estimate([1, 2, 3, 4, 5])
    assert (found.mean, found.count) == (3, 5) and found.std == pytest.approx(math.sqrt(2.5))
    reach = 2.7764 * math.sqrt(2.5 / 5)
    assert (found.low, found.high) == pytest.approx((3 - reach, 3 + reach), rel=1e-4)


def test_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    inside = [found.low <= 1 <= found.high for found in (estimate(random.normal(1, 2, 4)) for _ in range(2000))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_single_value_has_no_interval():
    found = estimate([7.0])
    assert found.mean == 7 and math.isnan(found.std) and math.isnan(found.low)
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


@pytest.mark.parametrize(("wins", "losses", "p"), [(3, 0, 0.25), (0, 5, 0.0625), (2, 2, 1), (0, 0, 1), (6, 1, 0.125)])
def test_sign_test(wins, losses, p):
    assert sign_test(wins, losses) == pytest.approx(p)


def test_pairs_take_out_what_they_share():
    random = np.random.default_rng(0)
    shared, gain = random.normal(0, 1, 6), random.normal(0.1, 0.01, 6)
    found = compare_paired(shared, shared - gain)
    assert found.difference.mean == pytest.approx(-gain.mean()) and (found.wins, found.losses, found.ties) == (6, 0, 0)
    assert found.difference.std == pytest.approx(gain.std(ddof=1)) and found.unpaired_std > 20 * found.difference.std
    assert found.difference.high < 0 and found.p_value == pytest.approx(2 / 64)
    assert compare_paired([1, 2], [1, 3]).ties == 1
    with pytest.raises(ValueError, match="not 2 and 3"):
        compare_paired([1, 2], [1, 2, 3])


def test_line():
    x = np.arange(5.0)
    assert fit_line(x, 3 - 2 * x) == pytest.approx((-1, -2, 3))
    assert fit_line(x, [1, 1, 1, 1, 1]) == (0, 0, 1)
    assert fit_line([2, 2], [1, 3]) == (0, 0, 2)
