"""Means with their noise, and paired comparisons: what may be said of a few seeds or objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean and how far it can be trusted.

    Attributes:
        mean: of the values.
        std: sample standard deviation (n - 1); NaN for a single value.
        count: n.
        low: lower end of the 95 % interval of the mean (Student's t); NaN for a single value.
        high: upper end.
    """

    mean: float
    std: float
    count: int
    low: float
    high: float


class Comparison(NamedTuple):
    """Two arms over the same seeds or objects.

    Attributes:
        difference: of the pairs, second minus first.
        unpaired_std: standard deviation the difference would have if the arms were independent.
        wins: pairs in which the second is smaller.
        losses: pairs in which it is larger.
        ties: equal pairs.
        p_value: of the sign test.
    """

    difference: Estimate
    unpaired_std: float
    wins: int
    losses: int
    ties: int
    p_value: float


class Line(NamedTuple):
    """Least-squares line y = slope x + offset, and Pearson's r (0 where one side is constant)."""

    r: float
    slope: float
    offset: float


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread and 95 % interval of (n,) values.

    Raises:
        ValueError: no value.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("an estimate needs at least one value")
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return Estimate(mean, math.nan, 1, math.nan, math.nan)
    from scipy.special import stdtrit

    std = float(values.std(ddof=1))
    reach = float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2)) * std / math.sqrt(count)
    return Estimate(mean, std, count, mean - reach, mean + reach)


def compare_paired(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two arms pair by pair.

    Args:
        first: (n,) a figure of one arm.
        second: (n,) the same of the other, in the same order of seeds or objects.

    Raises:
        ValueError: not as many, or none.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"pairs need as many of each, not {len(first)} and {len(second)}")
    differences = second - first
    unpaired = math.sqrt(first.var(ddof=1) + second.var(ddof=1)) if len(first) > 1 else math.nan
    wins, losses = int((differences < 0).sum()), int((differences > 0).sum())
    ties = len(differences) - wins - losses
    return Comparison(estimate(differences), unpaired, wins, losses, ties, sign_test(wins, losses))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p value of so uneven a count if either side were as likely; ties are left out; 1 without pairs."""
    count = wins + losses
    tail = sum(math.comb(count, k) for k in range(min(wins, losses) + 1)) / 2**count
    return min(1.0, 2 * tail)


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Least-squares line through (n,) points; slope 0 where x is constant."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    dx, dy = x - x.mean(), y - y.mean()
    xx, xy, yy = (float((a * b).sum()) for a, b in ((dx, dx), (dx, dy), (dy, dy)))
    slope = xy / xx if xx else 0.0
    return Line(xy / math.sqrt(xx * yy) if xx and yy else 0.0, slope, float(y.mean() - slope * x.mean()))
