"""What a decoder makes of changes of its planes: gains, impact, improvement.

H(f) of a band: how much pictures change for a change of the planes in that band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openlrm.analysis.bands import Definitions


def root_mean_square(values: np.ndarray) -> float:
    """Root of the mean square, mean included."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def mean_absolute(values: np.ndarray) -> float:
    """Mean of the absolute value; of the difference of pictures it is the render error E."""
    return float(np.mean(np.abs(values), dtype=np.float64))


def gain_l1(change: np.ndarray, noise: np.ndarray) -> float:
    """H1: mean |change of the pictures| / mean |change of the planes|, arrays of any shape."""
    return mean_absolute(change) / mean_absolute(noise)


def gain_rms(change: np.ndarray, noise: np.ndarray) -> float:
    """H2: the same by root mean squares; for a linear decoder independent of the amplitude."""
    return root_mean_square(change) / root_mean_square(noise)


def gain_parity(change: np.ndarray, amplitude: float) -> float:
    """The study's H: mean |change of the pictures| / amplitude asked for."""
    return mean_absolute(change) / amplitude


def effective_impact(energy: Sequence[float], gain: Sequence[float], definitions: Definitions = "consistent"):
    """Share of each band in what a residual does to the pictures.

    Consistent: P H2^2 / sum, for a linear decoder and incoherent bands the share of the squared render error.
    Parity: (magnitude share) (share of H) / sum.

    Args:
        energy: (B,) power of the residual by band; parity: its magnitude, or the share of it.
        gain: (B,) H2; parity: the study's H.
        definitions: see above.

    Returns:
        (B,) that sums to 1.
    """
    energy, gain = np.asarray(energy, np.float64), np.asarray(gain, np.float64)
    impact = energy * (gain if definitions == "parity" else gain**2)
    return impact / impact.sum()


def gain_shares(gain: Sequence[float]) -> np.ndarray:
    """H of each band over the sum of all, (B,)."""
    return np.asarray(gain, np.float64) / np.sum(gain)


def low_pass_figures(gain: Sequence[float]) -> dict[str, float | list[float]]:
    """How much a decoder favours low frequencies.

    Args:
        gain: (B,) H of equal bands, B at least 4.

    Returns:
        first_over_last; low_over_high, mean of the first three tenths over mean of the last four (bands 0-2 and 6-9 of
        ten); thirds, the shares of those three parts in the sum.
    """
    gain = np.asarray(gain, np.float64)
    low, middle, high = np.split(gain, [3 * len(gain) // 10, 6 * len(gain) // 10])
    return {
        "first_over_last": float(gain[0] / gain[-1]),
        "low_over_high": float(low.mean() / high.mean()),
        "thirds": [float(part.sum() / gain.sum()) for part in (low, middle, high)],
    }


def improvement(error: float, before: float) -> float:
    """Share of an error that is gone: 1 - error / before; negative when it grew."""
    return 1 - error / before


def amplification(improvement_low: float, share_low: float, improvement_high: float, share_high: float) -> float | None:
    """(improvement by low / its power share) / (the same of high), at one cutoff.

    Returns:
        None where it means nothing: correcting the high frequencies does not help, or one side has no power.
    """
    if improvement_high <= 0 or share_low <= 0 or share_high <= 0:
        return None
    return (improvement_low / share_low) / (improvement_high / share_high)
