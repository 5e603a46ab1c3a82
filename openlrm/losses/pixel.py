"""Difference of two pictures, pixel by pixel."""

from mindspore import Tensor, ops

PIXEL_LOSSES = ("mse", "l1")


def pixel_loss(prediction: Tensor, target: Tensor, kind: str = "mse") -> Tensor:
    """Mean squared or absolute difference.

    Args:
        prediction: any shape, colours in [0, 1].
        target: the same shape.
        kind: one of `PIXEL_LOSSES`.

    Returns:
        Scalar.
    """
    difference = prediction - target
    return ops.abs(difference).mean() if kind == "l1" else (difference * difference).mean()
