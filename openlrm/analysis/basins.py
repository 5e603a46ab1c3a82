"""Whether two triplanes are variations of one, or unrelated answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Basin(NamedTuple):
    """How two triplanes lie to each other.

    Attributes:
        correlation: mean over channels of `channel_correlation`.
        channel_correlation: (C,) Pearson's r over the P H W values of a channel; 0 where one is constant.
        l1: mean absolute difference.
        scale: <a, b> / <a, a>: the factor that brings a nearest to b.
        cosine: <a, b> / (|a| |b|).
    """

    correlation: float
    channel_correlation: np.ndarray
    l1: float
    scale: float
    cosine: float


def compare_planes(a: np.ndarray, b: np.ndarray) -> Basin:
    """Compare planes (P, C, H, W) with others of the same shape; scale and cosine are 0 where one is all zeros."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    r = channel_correlation(a, b)
    dot, of_a, of_b = (float((x * y).sum()) for x, y in ((a, b), (a, a), (b, b)))
    scale = dot / of_a if of_a else 0.0
    cosine = dot / np.sqrt(of_a * of_b) if of_a and of_b else 0.0
    return Basin(float(r.mean()), r, float(np.abs(a - b).mean()), scale, float(cosine))


def channel_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each channel over planes and texels: (P, C, H, W) twice -> (C,); 0 where one is constant."""
    axes = (0, 2, 3)
    # Constant by its range: the deviations of equal numbers from their mean are rounding, not zero.
    varies = (np.ptp(a, axes) > 0) & (np.ptp(b, axes) > 0)
    a, b = (x - x.mean(axes, keepdims=True) for x in (a, b))
    length = np.sqrt((a**2).sum(axes) * (b**2).sum(axes))
    return np.divide((a * b).sum(axes), length, out=np.zeros(len(length)), where=varies & (length > 0))
