"""Number formats: what a device can run, and the loss scale that keeps fp16 gradients in range."""

from __future__ import annotations

from openlrm.errors import UserError
from openlrm.training.config import PrecisionConfig

_GROWTH, _BACKOFF = 2.0, 0.5
_LEAST, _GREATEST = 1.0, 2.0**24


def check_precision(config: PrecisionConfig, half_precision: bool) -> None:
    """Refuse what the device cannot run.

    Args:
        config: number formats.
        half_precision: whether the device gains from half formats; a CPU does not.

    Raises:
        UserError: with the reason and what to use instead.
    """
    if config.amp_level == "O0":
        if config.dtype != "fp32":
            hint = f"use train.precision.amp_level=O2 for {config.dtype}, or leave the dtype out"
            raise UserError(f"dtype={config.dtype} with amp_level=O0, which is float32", hint=hint)
        return
    if config.dtype == "fp32":
        raise UserError(
            f"amp_level={config.amp_level} needs a half format", hint="add train.precision.dtype=bf16 or fp16"
        )
    if not half_precision:
        raise UserError(
            f"amp_level={config.amp_level} on a CPU: MindSpore has no bf16 kernels there, "
            "and its fp16 products are slower than float32",
            hint="use train.precision.amp_level=O0",
        )


def apply_precision(cell, config: PrecisionConfig):
    """Cast a network for mixed precision; norms, softmax and sums stay in float32 in either level.

    Not run on an NPU yet: none was at hand.

    Args:
        cell: the network.
        config: checked by `check_precision`.

    Returns:
        The network to train.
    """
    if config.amp_level == "O0":
        return cell
    import mindspore as ms

    dtype = {"bf16": ms.bfloat16, "fp16": ms.float16}[config.dtype]
    # "auto" chooses by operator, whatever Cell holds it; O1 and O2 look for MindSpore's own layers.
    level = {"O1": "auto", "O2": "O2"}[config.amp_level]
    return ms.amp.auto_mixed_precision(cell, level, dtype)


class LossScaler:
    """Loss scale of fp16: halved by an overflow, doubled after `window` good steps in a row.

    Other formats have the constant scale 1.

    Args:
        config: number formats.
    """

    def __init__(self, config: PrecisionConfig):
        active = config.amp_level != "O0" and config.dtype == "fp16"
        self.scale = config.init_loss_scale if active else 1.0
        self.dynamic = active and config.loss_scaler_type == "dynamic"
        self.window = config.scale_window
        self.good_steps = 0

    def update(self, finite: bool) -> None:
        """Take in whether a step's gradients were finite."""
        if not self.dynamic:
            return
        if not finite:
            self.scale, self.good_steps = max(_LEAST, self.scale * _BACKOFF), 0
            return
        self.good_steps += 1
        if self.good_steps == self.window:
            self.scale, self.good_steps = min(_GREATEST, self.scale * _GROWTH), 0
