"""Where the power of planes lies: shares, densities, radial curves, and what two residuals have in common.

Planes are (P, C, H, W): for a triplane P = 3. A single map needs its two leading axes: maps[None, None].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openlrm.analysis.bands import SPECTRUM_EDGES, STUDY_EPSILON, Definitions, band_index, frequencies

Quantity = Literal["power", "magnitude"]


def energy(planes: np.ndarray, quantity: Quantity = "power") -> np.ndarray:
    """Energy of every bin.

    Args:
        planes: (P, C, H, W).
        quantity: "power", |F|^2 summed over channels; "magnitude", |F| averaged over channels.

    Returns:
        (P, H, W), FFT order. The sum of the power is H W times the sum of squares (Parseval).
    """
    magnitude = np.abs(np.fft.fft2(planes))
    return magnitude.mean(1) if quantity == "magnitude" else (magnitude**2).sum(1)


def band_shares(
    planes: np.ndarray,
    edges: Sequence[float] = SPECTRUM_EDGES,
    quantity: Quantity = "power",
    pooled: bool = False,
    definitions: Definitions = "consistent",
) -> np.ndarray:
    """Share of the energy in each band, of the total over all bins.

    Args:
        planes: (P, C, H, W).
        edges: B + 1 limits; those of `SPECTRUM_EDGES` take in every bin, so the shares sum to 1.
        quantity: see `energy`.
        pooled: planes together, weighted by their energy.
        definitions: "parity" is magnitude, whatever `quantity` says, and the study's frequency.

    Returns:
        (P, B), or (B,) when pooled. Zeros for planes that are zero.
    """
    parity = definitions == "parity"
    of_bands, total = _band_energy(planes, edges, "magnitude" if parity else quantity, definitions)
    if pooled:
        of_bands, total = of_bands.sum(0), total.sum(0)
    if parity:
        total = total + STUDY_EPSILON
    return _ratio(of_bands, total[..., None])


def bin_shares(height: int, width: int, edges: Sequence[float] = SPECTRUM_EDGES) -> np.ndarray:
    """Share of the bins in each band, (B,): where white noise has its power."""
    index = band_index(frequencies(height, width), edges)
    return np.array([(index == band).mean() for band in range(len(edges) - 1)])


def band_density(planes: np.ndarray, edges: Sequence[float] = SPECTRUM_EDGES, pooled: bool = False) -> np.ndarray:
    """Power share over bin share: 1 in every band for white noise; arguments and result as `band_shares`."""
    return _ratio(band_shares(planes, edges, pooled=pooled), bin_shares(*planes.shape[-2:], edges))


def dc_share(planes: np.ndarray, pooled: bool = False) -> np.ndarray:
    """Share of the power in the means of the maps alone: (P, C, H, W) -> (P,), or () when pooled."""
    power = energy(planes)
    dc, total = power[:, 0, 0], power.sum((1, 2))
    return _ratio(dc.sum(), total.sum()) if pooled else _ratio(dc, total)


def radial_curve(planes: np.ndarray, definitions: Definitions = "consistent") -> np.ndarray:
    """Mean energy of a bin over rings of frequency, averaged over channels.

    Args:
        planes: (P, C, H, W); K = min(H, W) // 2.
        definitions: consistent, power in K rings of width 1 / K and one of the corners; parity, magnitude at the
            integer radii 0 .. K - 1, rounded down.

    Returns:
        (P, K + 1), or (P, K) in parity. NaN for a ring without bins.
    """
    height, width = planes.shape[-2:]
    rings = min(height, width) // 2
    frequency = frequencies(height, width, definitions)
    if definitions == "parity":
        ring, values = band_index(frequency, np.arange(rings + 1) / rings), energy(planes, "magnitude")
        count = rings
    else:
        ring = band_index(frequency, np.append(np.arange(rings + 1) / rings, np.inf))
        values, count = energy(planes) / planes.shape[1], rings + 1
    means = [plane[ring == k].mean() if (ring == k).any() else np.nan for plane in values for k in range(count)]
    return np.array(means).reshape(len(values), count)


def coherence(a: np.ndarray, b: np.ndarray, edges: Sequence[float] = SPECTRUM_EDGES) -> np.ndarray:
    """How much of a band comes back in a second residual: Re<A, B> / (|A| |B|) over its bins, planes and channels.

    Args:
        a: (P, C, H, W).
        b: the same shape.
        edges: B + 1 limits.

    Returns:
        (B,) in [-1, 1]; 0 where one has nothing in the band.
    """
    a, b = np.fft.fft2(a), np.fft.fft2(b)
    index = band_index(frequencies(*a.shape[-2:]), edges)

    def within(values: np.ndarray) -> np.ndarray:
        return np.array([values[..., index == band].sum() for band in range(len(edges) - 1)])

    common = within((a * b.conj()).real)
    return _ratio(common, np.sqrt(within(np.abs(a) ** 2) * within(np.abs(b) ** 2)))


def band_power(planes: np.ndarray, edges: Sequence[float] = SPECTRUM_EDGES) -> np.ndarray:
    """Power of each band, planes together: (P, C, H, W) -> (B,)."""
    return _band_energy(planes, edges, "power", "consistent")[0].sum(0)


def _band_energy(planes, edges, quantity: Quantity, definitions: Definitions) -> tuple[np.ndarray, np.ndarray]:
    """Energy (P, B) of the bands and (P,) of all bins."""
    values = energy(planes, quantity)
    index = band_index(frequencies(*planes.shape[-2:], definitions), edges)
    of_bands = [values[:, index == band].sum(1) for band in range(len(edges) - 1)]
    return np.stack(of_bands, 1), values.sum((1, 2))


def _ratio(part, whole) -> np.ndarray:
    """Part / whole, 0 where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)
