"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of two images, -10 log10(mean squared difference) for a peak of 1.

    The mean runs over everything given, in float64: for the usual mean over images call it for each. Two
    images that differ by 0.1 everywhere have 20 dB.

    Args:
        a: (..., C, H, W) in [0, 1].
        b: the same shape.
        mask: (H, W) for all or (..., 1, H, W); zero or False leaves a pixel out.

    Returns:
        Decibels; infinity for equal images.

    Raises:
        ValueError: shapes differ, or the mask leaves nothing.
    """
    if a.shape != b.shape:
        raise ValueError(f"psnr needs two images of one shape, not {a.shape} and {b.shape}")
    squared = (a.astype(np.float64) - b) ** 2
    if mask is None:
        mean = squared.mean()
    else:
        kept = np.broadcast_to(mask.astype(bool), squared.shape)
        if not kept.any():
            raise ValueError("the mask leaves no pixel to compare")
        mean = squared[kept].mean()
    return float(-10 * np.log10(mean)) if mean > 0 else float("inf")
