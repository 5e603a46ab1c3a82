"""How many directions of the planes matter: effective ranks of a decoder, from its spectrum or from probes.

For a linear map with singular values s the participation ratio is PR = (sum s^2)^2 / sum s^4. Random unit directions
are answered with norms whose relative spread is 1 / sqrt(2 PR): a SMALL spread says that MANY directions matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BELOW = (0.1, 0.2, 0.5, 1.0)


class Spread(NamedTuple):
    """Answers to random directions.

    Attributes:
        mean: of the answers.
        std: population standard deviation.
        relative: std / mean.
        low: least.
        high: greatest.
        median: of the answers.
        below: share of the answers below each of `BELOW` times the mean.
    """

    mean: float
    std: float
    relative: float
    low: float
    high: float
    median: float
    below: tuple[float, ...]


def spread(answers: Sequence[float]) -> Spread:
    """Figures of the answers (n,) to random directions of one length."""
    answers = np.asarray(answers, np.float64)
    mean, std = float(answers.mean()), float(answers.std())
    below = tuple(float((answers < limit * mean).mean()) for limit in BELOW)
    ends = float(answers.min()), float(answers.max())
    return Spread(mean, std, std / mean if mean else 0.0, *ends, float(np.median(answers)), below)


def random_directions(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Unit directions (count, size), uniform on the sphere."""
    draws = random.standard_normal((count, size))
    return draws / np.linalg.norm(draws, axis=1, keepdims=True)


def participation_ratio(singular_values: Sequence[float]) -> float:
    """(sum s^2)^2 / sum s^4: how many equal singular values would be as spread."""
    squares = np.square(singular_values, dtype=np.float64)
    return float(squares.sum() ** 2 / (squares**2).sum())


def participation_from_spread(relative_spread: float) -> float:
    """Participation ratio by the relative spread of RMS answers to random directions: 1 / (2 spread^2)."""
    return 0.5 / relative_spread**2


def participation_from_probes(forward: Sequence[float], back: Sequence[float]) -> float:
    """Participation ratio by Hutchinson's estimator.

    Args:
        forward: (n,) |J z|^2 of Gaussian probes z ~ N(0, 1): its mean estimates sum s^2.
        back: (n,) |J^T J z|^2: its mean estimates sum s^4.
    """
    return float(np.mean(forward) ** 2 / np.mean(back))


def entropy_rank(singular_values: Sequence[float]) -> float:
    """exp(-sum p log p), p = s / sum s (Roy and Vetterli, 2007)."""
    values = np.asarray(singular_values, np.float64)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def stable_rank(singular_values: Sequence[float]) -> float:
    """Sum s^2 / s_1^2."""
    squares = np.square(singular_values, dtype=np.float64)
    return float(squares.sum() / squares.max())
