"""Frequencies of maps, and bands of them: the one place where 'low' and 'high' get their meaning.

Frequencies are in units of an axis' Nyquist frequency: 1 is half a cycle per texel or pixel, corners reach 1.414.
Arrays over frequencies are in FFT order (zero first). `definitions="parity"` is what the public study of
openlrm-mix-base-1.1 computed where it differs; everything else follows one set of definitions, "consistent".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openlrm.errors import UserError

Definitions = Literal["consistent", "parity"]

LOW, MIDDLE = 0.15, 0.4
SPECTRUM_EDGES = (0.0, LOW, MIDDLE, 1.0, np.inf)
"""Limits of the four bands of a spectrum: low, middle, high and the corners beyond Nyquist."""

STUDY_EPSILON = 1e-8
"""What the study adds to a denominator: 1e-6 of the strength of narrow noise."""

_ON_LIMIT = 1e-9
"""A frequency this near to a limit lies on it: 2 * 3 / 20 is 0.3, whatever the rounding."""


def frequencies(height: int, width: int, definitions: Definitions = "consistent") -> np.ndarray:
    """Frequency of every bin of an (H, W) map.

    Consistent: 2 hypot(ky / H, kx / W), k from -n/2 to n/2. Parity: hypot(ky, kx) / min(H // 2, W // 2), which is the
    same for even squares only.

    Returns:
        (H, W) float64, FFT order.
    """
    if definitions == "parity":
        rows, columns = (np.fft.ifftshift(np.arange(n) - n // 2) for n in (height, width))
        return np.hypot(rows[:, None], columns) / max(min(height // 2, width // 2), 1)
    return 2 * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


def band_mask(frequency: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which bins lie in [low, high): boolean, the shape of `frequency`; bins within 1e-9 of a limit lie on it."""
    return band_index(frequency, (low, high)) == 0


def low_mask(height: int, width: int, cutoff: float, definitions: Definitions = "consistent") -> np.ndarray:
    """Bins below a cutoff, (H, W) boolean in FFT order; symmetric under k -> -k, so a real map stays real.

    Raises:
        UserError: a cutoff that leaves nothing below or nothing above it.
    """
    frequency = frequencies(height, width, definitions)
    check_cutoff(cutoff, frequency)
    return band_mask(frequency, 0.0, cutoff)


def check_cutoff(cutoff: float, frequency: np.ndarray) -> None:
    """Check that a cutoff cuts.

    Args:
        cutoff: in the unit of `frequency`.
        frequency: of every bin.

    Raises:
        UserError: it is not above 0, or beyond the corners.
    """
    top = float(frequency.max())
    if not 0 < cutoff <= top + _ON_LIMIT:
        size = " x ".join(map(str, frequency.shape))
        raise UserError(
            f"a cutoff of {cutoff:g} does not cut the frequencies of {size} maps",
            hint=f"choose one above 0 and up to {top:.4g}, the corners",
        )


def equal_bands(count: int) -> np.ndarray:
    """Limits (count + 1,) of equal bands on [0, 1].

    Raises:
        UserError: less than one band.
    """
    if count < 1:
        raise UserError(f"{count} frequency bands", hint="ask for at least 1")
    return np.linspace(0, 1, count + 1)


def band_index(frequency: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Number of each bin's band between rising limits; -1 below the first, len(edges) - 1 from the last on."""
    return np.searchsorted(np.asarray(edges) - _ON_LIMIT, frequency, side="right") - 1
