"""A model family of three numbers: the loop has to work with any."""

from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from openlrm.training.task import GradientResult, Task


class ToyModel(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.array([[1.0, -2.0, 0.5]], np.float32)), name="weight")


class ToyTask(Task):
    """loss = mean (weight - target)^2; a batch is {"target": (3,)}."""

    per_epoch = 4
    objects = ("one",)

    def __init__(self, model, values=lambda number: 0.0, on_batch=None, validator=None):
        super().__init__()
        self.model, self.parameters = model, [model.weight]
        self.values, self.on_batch, self.validator = values, on_batch, validator

    def batches(self, epoch, batch, epochs):
        for number in range(epoch * self.per_epoch + batch, 10**6):
            if self.on_batch:
                self.on_batch(number)
            yield *divmod(number, self.per_epoch), targets(self.values(number))[0]

    def gradient(self, batch, step, part=0, scale=1.0):
        difference = self.model.weight.asnumpy() - batch["target"]
        gradient = Tensor((2 * scale * difference / 3).astype(np.float32))
        return GradientResult({"loss": float((difference**2).mean())}, (gradient,), Tensor(0.0, ms.float32))

    @property
    def validates(self):
        return self.validator is not None

    def validate(self):
        return self.validator(self.model)


def targets(*values):
    return [{"target": np.full((1, 3), value, np.float32)} for value in values]


@pytest.fixture
def toy(pynative):
    """The loop has to work with anything that has gradients."""
    return SimpleNamespace(Model=ToyModel, Task=ToyTask, targets=targets)
