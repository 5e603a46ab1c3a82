"""What the loop knows of what it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

if TYPE_CHECKING:
    from openlrm.training.estimate import MemoryEstimate
    from openlrm.training.validation import Validation
    from openlrm.training.watch import Look

NOTHING = "nothing when computed again"


class DeviceParts(Mapping[str, float]):
    """Parts of a loss that stay on the device until one is asked for: fetching waits for all work given to it.

    Args:
        names: of the parts, in order.
        report: gives their values.
    """

    def __init__(self, names: Sequence[str], report: Callable[[], Sequence[float]]):
        self._names, self._report = tuple(names), report

    @cached_property
    def _values(self) -> dict[str, float]:
        return dict(zip(self._names, self._report(), strict=True))

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class GradientResult:
    """Gradient of one batch.

    Attributes:
        parts: "loss" and its unweighted parts, by name.
        gradients: one per trained parameter, in order, times the loss scale.
        preview: what `Task.pictures` shows of it.
    """

    parts: Mapping[str, float]
    gradients: tuple[Tensor, ...]
    preview: Any = None


class Task(ABC):
    """One thing that can be trained: its data, its loss and what is to be seen of it.

    The loop asks for batches, takes gradients, and reports; it knows no more than this class. A task whose loss is a
    Cell gives `loss` and `inputs`; one that does it otherwise overrides `gradient`.

    Attributes:
        model: what is saved.
        parameters: of it, those that are trained, by unique names.
        factors: of the learning rate, one per parameter.
        per_epoch: batches of an epoch.
        objects: names of what is trained on.
        roots: folders it is read from.
        parts: names of what `loss` reports, "loss" first.
        config_dict: contents of the model's config.json; None when the model has none.
        settled: step from which every part of the loss counts.
    """

    model: nn.Cell
    parameters: Sequence[Parameter]
    per_epoch: int
    objects: Sequence[str]
    roots: Sequence[str] = ()
    parts: Sequence[str] = ("loss",)
    config_dict: dict[str, Any] | None = None
    settled: int = 0

    def __init__(self) -> None:
        self._functions: dict[int, Any] = {}

    @property
    def factors(self) -> Sequence[float]:
        """Of the learning rate, one per parameter."""
        return [1.0] * len(self.parameters)

    @abstractmethod
    def batches(self, epoch: int, batch: int, epochs: int) -> Iterator[tuple[int, int, Any]]:
        """Batches from a position on, which are functions of seed and position alone.

        Args:
            epoch: of the first, from 0.
            batch: its index in the epoch.
            epochs: number of epochs in all.

        Yields:
            Epoch, index of the batch in it, and the batch.
        """

    def loss(self, step: int) -> nn.Cell:
        """Cell of the loss in a step, the same object whenever the loss is the same.

        Its `construct` takes `inputs` and the loss scale, and gives () the scaled loss, (len(parts),) values of
        `parts`, and a preview; see `gradient`.
        """
        raise NotImplementedError

    def inputs(self, batch: Any, step: int, part: int) -> list[Tensor]:
        """What the loss takes of a batch.

        Args:
            batch: as `batches` gives it.
            step: of the run; chooses draws and weights.
            part: batch of the step, when gradients are accumulated.
        """
        raise NotImplementedError

    def gradient(self, batch: Any, step: int, part: int = 0, scale: float = 1.0) -> GradientResult:
        """Gradient of a batch; arguments as `inputs`, and the loss scale."""
        self.model.set_train(True)
        loss = self.loss(step)
        if id(loss) not in self._functions:
            loss.set_train(True)
            weights = ms.ParameterTuple(self.parameters)
            self._functions[id(loss)] = ms.value_and_grad(loss, None, weights, has_aux=True)
        inputs = self.inputs(batch, step, part)
        (_, report, preview), gradients = self._functions[id(loss)](*inputs, scalar(scale))
        parts = DeviceParts(self.parts, lambda: report.asnumpy().tolist())
        return GradientResult(parts, gradients, preview)

    def arrays(self, batch: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Arrays of a batch by name, for the search for NaN."""
        return iter(batch.items()) if isinstance(batch, Mapping) else batch.arrays()

    def stages(self, batch: Any, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        """What is computed on the way to the loss, by name and in order, for the search for NaN."""
        return iter(())

    def first_non_finite(self, batch: Any, step: int, part: int = 0) -> str:
        """Name the first tensor of a step, in the order of computation, that holds NaN or infinity."""
        for name, value in self._all_stages(batch, step, part):
            if not np.isfinite(value.sum(dtype=np.float64)):
                return name
        return NOTHING

    def _all_stages(self, batch: Any, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        yield from self.arrays(batch)
        yield from ((f"parameter {p.name}", p.asnumpy()) for p in self.model.get_parameters())
        yield from self.stages(batch, step, part)
        result = self.gradient(batch, step, part)
        yield from ((f"loss part {name}", np.array(value)) for name, value in result.parts.items())
        for parameter, gradient in zip(self.parameters, result.gradients, strict=True):
            yield f"gradient of {parameter.name}", gradient.asnumpy()

    def pictures(self, batch: Any, preview: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """What a step was to render and what it rendered, (N, M, 3, R, R) each; None without pictures."""
        return None

    def watch(self, batch: Any, step: int) -> Look | None:
        """A look for collapse, see `openlrm.training.watch`; None where there is nothing to look at."""
        return None

    @property
    def validates(self) -> bool:
        """Whether `validate` gives something."""
        return False

    def validate(self) -> Validation:
        """Measure the model as it is; its state is left alone."""
        raise NotImplementedError

    def after_step(self, step: int, gradients: Sequence[Tensor]) -> None:
        """Called after each step that changed the parameters, with the gradients it took; does nothing by itself."""
        return

    def memory(self, copies: float) -> MemoryEstimate | None:
        """Estimate the peak of a step.

        Args:
            copies: arrays the size of the trained parameters beside them (gradient, two moments, average, sums); a
                share of one where workers divide it.
        """
        return None

    def facts(self) -> list[str]:
        """Lines about the task for the log and `dry_run`."""
        return []


def scalar(value: float) -> Tensor:
    """() float32."""
    return Tensor(value, ms.float32)


def tensor(array: np.ndarray) -> Tensor:
    """Float32, contiguous."""
    return Tensor(np.ascontiguousarray(array, np.float32))
