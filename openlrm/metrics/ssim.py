"""Structural similarity."""

from __future__ import annotations

import numpy as np

SIGMA = 1.5
# Pixels a side of the Gaussian window, cut off at 3.5 sigma.
WINDOW = 2 * int(3.5 * SIGMA + 0.5) + 1


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two images (Wang, Bovik, Sheikh and Simoncelli, 2004).

    Gaussian window of sigma 1.5 (11 pixels), population covariance, K1 = 0.01, K2 = 0.03 for a range of 1;
    the mean over pixels whose window lies inside the image and over channels.

    Args:
        a: (C, H, W) in [0, 1], or (..., C, H, W) for a mean over images.
        b: the same shape.

    Returns:
        1 for equal images, less otherwise.

    Raises:
        ValueError: shapes differ, fewer than 3 axes, or an image smaller than the window.
    """
    from skimage.metrics import structural_similarity

    if a.shape != b.shape or a.ndim < 3:
        raise ValueError(f"ssim needs two (..., C, H, W) images of one shape, not {a.shape} and {b.shape}")
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"ssim needs images of at least {WINDOW} x {WINDOW} pixels, not {a.shape[-2]} x {a.shape[-1]}")
    pairs = zip(*(image.reshape(-1, *image.shape[-3:]).astype(np.float64) for image in (a, b)), strict=True)
    values = [
        structural_similarity(
            x, y, channel_axis=0, data_range=1, gaussian_weights=True, sigma=SIGMA, use_sample_covariance=False
        )
        for x, y in pairs
    ]
    return float(np.mean(values))
