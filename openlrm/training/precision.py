"""Number formats: what can be run, and the loss scale that keeps fp16 gradients in range."""

from __future__ import annotations

from openlrm.errors import UserError
from openlrm.training.config import PrecisionConfig

_GROWTH, _BACKOFF = 2.0, 0.5
_LEAST, _GREATEST = 1.0, 2.0**24


def check_precision(config: PrecisionConfig) -> None:
    """Refuse half precision, which is not there yet on any device.

    MindSpore's own wrapper, which was used before, changes nothing at O1, since training calls parts of the model, and
    renames the parameters at O2, so that the first step fails.

    Args:
        config: number formats.

    Raises:
        UserError: with the reason and what to use instead.
    """
    if config.amp_level != "O0" or config.dtype != "fp32":
        raise UserError(
            f"amp_level={config.amp_level} with dtype={config.dtype}: training in half precision is not there yet",
            hint="use train.precision.amp_level=O0 with dtype=fp32, or leave both out",
        )


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
