"""The best a prediction could do by scaling alone: least squares of it onto a reference."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Kind = Literal["global", "scale", "affine"]
KINDS: tuple[Kind, ...] = ("global", "scale", "affine")


class Calibration(NamedTuple):
    """A prediction brought nearest to a reference.

    Attributes:
        planes: (P, C, H, W) slope * prediction + offset.
        slope: (C,), one number repeated for "global".
        offset: (C,), zeros but for "affine".
    """

    planes: np.ndarray
    slope: np.ndarray
    offset: np.ndarray


def calibrate(prediction: np.ndarray, reference: np.ndarray, kind: Kind) -> Calibration:
    """Least squares of a prediction onto a reference.

    Args:
        prediction: (P, C, H, W).
        reference: the same shape.
        kind: "global", one factor; "scale", one a channel over its P H W values; "affine", factor and offset a channel.

    Returns:
        The nearest planes of that kind. A channel that is zero ("affine": constant) keeps the slope 1.
    """
    prediction, reference = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    channels, axes = prediction.shape[1], (0, 2, 3)
    x, y, offset = prediction, reference, np.zeros(channels)
    if kind == "affine":
        x, y = (values - values.mean(axes, keepdims=True) for values in (x, y))
    product, square = (x * y).sum(axes), (x * x).sum(axes)
    if kind == "global":
        product, square = (np.full(channels, values.sum()) for values in (product, square))
    slope = np.divide(product, square, out=np.ones(channels), where=square > 0)
    if kind == "affine":
        offset = reference.mean(axes) - slope * prediction.mean(axes)
    planes = prediction * slope[:, None, None] + offset[:, None, None]
    return Calibration(planes, slope, offset)
