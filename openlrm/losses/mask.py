"""Opacity of rendered views against the alpha channel."""

import mindspore as ms
from mindspore import Tensor, ops

from openlrm.losses.pixel import pixel_loss

MASK_LOSSES = ("mse", "bce")

# An opacity of exactly 0 or 1 that is wrong must not give an infinite loss or gradient.
_MARGIN = 1e-4


def mask_loss(weight: Tensor, alpha: Tensor, kind: str = "mse") -> Tensor:
    """Mean squared difference, or mean binary cross-entropy -(a log w + (1 - a) log(1 - w)).

    Args:
        weight: opacity as the renderer gives it (`images_weight`), any shape, in [0, 1].
        alpha: the same shape, in [0, 1].
        kind: one of `MASK_LOSSES`. For "bce" opacities are first squeezed into [1e-4, 1 - 1e-4], linearly, so
            that a ray which is wrong by 1 still has a gradient.

    Returns:
        Scalar.
    """
    if kind == "mse":
        return pixel_loss(weight, alpha)
    squeezed = _MARGIN + (1 - 2 * _MARGIN) * weight.astype(ms.float32)
    return -(alpha * ops.log(squeezed) + (1 - alpha) * ops.log(1 - squeezed)).mean()
