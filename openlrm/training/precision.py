"""Number formats of training: what is cast, and the loss scale that keeps fp16 gradients in range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import mindspore as ms
from mindspore import nn

from openlrm.errors import UserError
from openlrm.ops.casting import set_casting
from openlrm.training.config import PrecisionConfig

_GROWTH, _BACKOFF = 2.0, 0.5
_LEAST, _GREATEST = 1.0, 2.0**24
_FORMATS = {"bf16": ms.bfloat16, "fp16": ms.float16}


def check_precision(config: PrecisionConfig, parts: Sequence[nn.Cell]) -> None:
    """Refuse formats that contradict the level.

    Args:
        config: number formats.
        parts: of the model that may be in half precision.

    Raises:
        UserError: with what to use instead.
    """
    level, dtype = config.amp_level, config.dtype
    if (level == "O0") != (dtype == "fp32"):
        hint = "use O0 with fp32, O1 or O2 with bf16 or fp16"
        raise UserError(f"train.precision.amp_level={level} contradicts train.precision.dtype={dtype}", hint=hint)
    if level != "O0" and not parts:
        what = f"train.precision.amp_level={level}: nothing of this model may be in half precision"
        raise UserError(what, hint="use train.precision.amp_level=O0")


class Policy:
    """Which numbers of a step are in half precision: the inputs and weights of products and attention in `parts`.

    Everything else is float32: norms, softmax, renderer, losses, gradients of parameters, optimiser, averages; and
    parameters, which keep their names. At O1 weights are cast where they are used; at O2 once a step, and kept in half
    precision beside the float32 ones until it ends. What needs no gradient on a CPU (a frozen encoder's features,
    validation) is computed in float32.

    Args:
        config: number formats.
        parts: of the model.
    """

    def __init__(self, config: PrecisionConfig, parts: Sequence[nn.Cell]):
        self._kept = None
        if config.amp_level != "O0" and config.dtype != "fp32":
            self._kept = set_casting(parts, _FORMATS[config.dtype], keep=config.amp_level == "O2")

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around the gradients of a step, in which no parameter changes."""
        if self._kept is None:
            yield
        else:
            with self._kept.kept():
                yield


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
