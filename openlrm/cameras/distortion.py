"""Lens distortion as OpenCV models it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distortion:
    """Where a lens puts what a pinhole would put at (x, y) = (X / Z, Y / Z), y down.

    Attributes:
        radial: k1, k2, ... of 1 + k1 r^2 + k2 r^4 + ..., at most three; of the angle if `fisheye`, at most four.
        tangential: p1, p2; 0 for a fisheye.
        fisheye: whether the radius is theta (1 + k1 theta^2 + ...), theta = atan r.

    Source: the camera models OPENCV and OPENCV_FISHEYE of COLMAP and of OpenCV's calibration.
    """

    radial: tuple[float, ...]
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    @property
    def nothing(self) -> bool:
        """Whether it is a pinhole."""
        return not self.fisheye and not any(self.radial) and not any(self.tangential)

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where pinhole coordinates appear, in the same units."""
        square = x * x + y * y
        if self.fisheye:
            radius = np.sqrt(square)
            theta = np.arctan(radius)
            bent = theta * _series(self.radial, theta * theta)
            factor = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 1e-12)
            return x * factor, y * factor
        p1, p2 = self.tangential
        factor = _series(self.radial, square)
        return (
            x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        )


def _series(coefficients: tuple[float, ...], at: np.ndarray) -> np.ndarray:
    """1 + k1 t + k2 t^2 + ..."""
    total = np.zeros_like(at)
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * at
    return 1 + total
