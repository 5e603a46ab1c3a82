"""Moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn

from openlrm.ops import assign


class MovingAverage(nn.Cell):
    """Exponential moving average that starts fast: after n updates its decay is min(decay, (1 + n) / (10 + n)).

    Args:
        parameters: what is averaged; the average starts as a copy.
        decay: long-term decay per update.
    """

    def __init__(self, parameters: Sequence[Parameter], decay: float):
        super().__init__()
        self.weights = ParameterTuple(parameters)
        self.averages = ParameterTuple(
            [Parameter(Tensor(p.asnumpy().copy()), name=f"ema.{p.name}", requires_grad=False) for p in parameters]
        )
        self.decay = decay

    def update(self, step: int) -> None:
        """Take in the weights after update number `step`, counted from 0."""
        self(Tensor(min(self.decay, (1 + step) / (10 + step)), ms.float32))

    def construct(self, decay: Tensor) -> Tensor:
        """average = weight + decay * (average - weight)."""
        for i in range(len(self.weights)):
            weight = self.weights[i]
            assign(self.averages[i], weight + (self.averages[i] - weight) * decay)
        return decay

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages in place of the weights, for the length of the block."""
        weights = [p.asnumpy().copy() for p in self.weights]
        for p, average in zip(self.weights, self.averages, strict=True):
            p.set_data(Tensor(average.asnumpy().copy()))
        try:
            yield
        finally:
            for p, weight in zip(self.weights, weights, strict=True):
                p.set_data(Tensor(weight))

    def state(self) -> dict[str, np.ndarray]:
        """Averages by name, `ema.` in front, copied."""
        return {p.name: p.asnumpy().copy() for p in self.averages}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        for p in self.averages:
            p.set_data(Tensor(np.array(state[p.name])))
