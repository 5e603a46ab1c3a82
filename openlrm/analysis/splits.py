"""Planes cut into frequencies; the parts add up to the whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openlrm.analysis.bands import Definitions, low_mask


class Decomposition(NamedTuple):
    """Parts of maps (..., H, W) that add up to them and are orthogonal to each other.

    Attributes:
        dc: (..., 1, 1) mean of each map.
        structured: (..., H, W) what is below the cutoff, without the mean.
        high: (..., H, W) the rest.
    """

    dc: np.ndarray
    structured: np.ndarray
    high: np.ndarray


def split(maps: np.ndarray, cutoff: float, definitions: Definitions = "consistent") -> tuple[np.ndarray, np.ndarray]:
    """Frequencies below a cutoff, and the rest.

    Args:
        maps: (..., H, W) real.
        cutoff: in Nyquist units, see `openlrm.analysis.bands`.
        definitions: of the frequency.

    Returns:
        low and high, each (..., H, W) float64; low + high = maps.

    Raises:
        UserError: a cutoff that does not cut.
    """
    maps = np.asarray(maps, np.float64)
    mask = low_mask(*maps.shape[-2:], cutoff, definitions)
    low = np.fft.ifft2(np.fft.fft2(maps) * mask).real
    return low, maps - low


def decompose(maps: np.ndarray, cutoff: float, definitions: Definitions = "consistent") -> Decomposition:
    """Mean, structure below a cutoff and the rest of maps (..., H, W); see `split`."""
    low, high = split(maps, cutoff, definitions)
    dc = low.mean((-2, -1), keepdims=True)
    return Decomposition(dc, low - dc, high)


def heat_map(planes: np.ndarray) -> np.ndarray:
    """Mean over channels of the absolute value: (..., C, H, W) -> (..., H, W)."""
    return np.abs(planes).mean(-3)
