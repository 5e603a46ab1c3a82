"""Keys' cubic convolution kernel: the one behind every bicubic resize here."""

from __future__ import annotations

import numpy as np


def keys_kernel(distance: np.ndarray, a: float) -> np.ndarray:
    """Weight of a sample at some distance, in samples; 0 from 2 on.

    Args:
        distance: any shape, of either sign.
        a: the kernel's slope at 1: -0.5 agrees with a Taylor series longest, -0.75 is what torch takes.

    Source: R. Keys, Cubic convolution interpolation for digital image processing, 1981, eq. 4 and 15.
    """
    t = np.abs(distance)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
