"""Noise of one band of frequencies, to ask a decoder what it passes on."""

from __future__ import annotations

import numpy as np

from openlrm.analysis.bands import STUDY_EPSILON, Definitions, band_mask, frequencies
from openlrm.errors import UserError


def draw_spectrum(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex Gaussian draws, real and imaginary part ~ N(0, 1): what `band_noise` cuts its bands from.

    Args:
        random: its state decides.
        shape: (..., H, W).

    Returns:
        complex128 in FFT order.
    """
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


def band_noise(
    draws: np.ndarray, low: float, high: float, amplitude: float, definitions: Definitions = "consistent"
) -> np.ndarray:
    """Real maps with all their frequencies in [low, high), each of one strength.

    Args:
        draws: (..., H, W) of `draw_spectrum`.
        low: first frequency of the band, Nyquist units.
        high: its end.
        amplitude: strength of each map. Consistent: root mean square; parity: sample standard deviation (n - 1), which
            leaves the mean out, and the study's frequency.
        definitions: see above.

    Returns:
        (..., H, W) float64: Re IFFT2(draws in the band), scaled.

    Raises:
        UserError: no bin lies in the band, or in parity only that of the mean.
    """
    mask = band_mask(frequencies(*draws.shape[-2:], definitions), low, high)
    fewest = 2 if definitions == "parity" and mask.flat[0] else 1
    if mask.sum() < fewest:
        what = "only the mean" if mask.any() else "nothing"
        size = " x ".join(map(str, draws.shape[-2:]))
        raise UserError(f"the band [{low:g}, {high:g}) holds {what} of {size} maps", hint="take fewer, wider bands")
    maps = np.fft.ifft2(draws * mask).real
    if definitions == "parity":
        strength = maps.std((-2, -1), ddof=1, keepdims=True) + STUDY_EPSILON
    else:
        strength = np.sqrt((maps**2).mean((-2, -1), keepdims=True))
    return maps * (amplitude / strength)
