"""One optimisation step: gradients of one or several batches, checked, clipped and applied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from openlrm.parallel import ALONE, World
from openlrm.parallel.buckets import GradientSum
from openlrm.parallel.world import lost_workers_told
from openlrm.training.config import TrainConfig
from openlrm.training.ema import MovingAverage
from openlrm.training.optim import Accumulate, AdamW, GlobalNorm, Scale, clip_factor, variable
from openlrm.training.precision import LossScaler, Policy
from openlrm.training.schedule import learning_rate
from openlrm.training.sharded import ShardedAdamW
from openlrm.training.task import Task


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        parts: loss and its parts, means over the batches of all workers.
        norm: global norm of the gradient before clipping.
        rate: learning rate.
        applied: whether the parameters were changed; not after NaN or infinity.
        overflow: whether it was the loss scale that was too large: no fault of the run.
        preview: of this worker's last batch, see `openlrm.training.task.GradientResult`.
    """

    parts: dict[str, float]
    norm: float
    rate: float
    applied: bool
    overflow: bool
    preview: Any


class Update:
    """Optimiser, moving average and loss scale of a run.

    Args:
        task: what is trained.
        config: the loop's options.
        total: steps of the run, for the schedule.
        world: the workers; each has batches of its own and all take the same step.
        sharded: whether the optimiser's state is spread over them.
    """

    def __init__(self, task: Task, config: TrainConfig, total: int, world: World = ALONE, sharded: bool = False):
        self.task, self.config, self.total = task, config, total
        self.world, self.sharded = world, sharded and world.size > 1
        self.optimizer = self._optimizer()
        self.reduce = GradientSum(task.parameters) if world.size > 1 else None
        self.average = MovingAverage(task.parameters, config.ema_decay) if config.use_ema else None
        self.sums = Accumulate(task.parameters) if config.gradient_accumulation_steps > 1 else None
        self.scaler = LossScaler(config.precision)
        self.policy = Policy(config.precision, task.half_parts)
        self.norm, self.scale = GlobalNorm(), Scale()
        self.updates = 0

    def _optimizer(self) -> AdamW | ShardedAdamW:
        optim = self.config.optim
        arguments = (self.task.parameters, optim.betas, optim.eps, optim.weight_decay)
        if self.sharded:
            return ShardedAdamW(*arguments, self.world, factors=self.task.factors)
        return AdamW(*arguments, factors=self.task.factors)

    def __call__(self, batches: Sequence[Any], step: int) -> StepReport:
        """Do step number `step` with `gradient_accumulation_steps` batches."""
        scale = self.scaler.scale
        results = []
        with self.policy.step():
            for part, batch in enumerate(batches):
                results.append(self.task.gradient(batch, step, part, scale))
                if self.sums is not None:
                    self.sums(variable(results[-1].gradients))
        gradients = variable(results[-1].gradients if self.sums is None else self.sums.take())
        if self.reduce is not None:
            with lost_workers_told():
                gradients = variable(self.reduce(gradients))
        divisor = scale * len(results) * self.world.size
        norm = float(self.norm(gradients).asnumpy()) / divisor
        parts = self._parts(results)
        optim = self.config.optim
        rate = learning_rate(step, self.total, optim.start_learning_rate, self.config.scheduler)
        applied = math.isfinite(norm) and math.isfinite(parts["loss"])
        if applied:
            factor = (clip_factor(norm, optim.max_grad_norm) if optim.clip_grad else 1.0) / divisor
            if factor != 1:
                gradients = variable(self.scale(gradients, Tensor(factor, ms.float32)))
            self.optimizer.step(gradients, rate, self.updates)
            if self.average is not None:
                self.average.update(self.updates)
            self.updates += 1
            self.task.after_step(step, gradients)
        if self.sums is not None:
            self.sums.clear()
        overflow = not applied and self.scaler.dynamic and scale > 1 and math.isfinite(parts["loss"])
        self.scaler.update(applied)
        return StepReport(parts, norm, rate, applied, overflow, results[-1].preview)

    def _parts(self, results: Sequence) -> dict[str, float]:
        names = list(results[0].parts)
        means = [math.fsum(result.parts[name] for result in results) / len(results) for name in names]
        return {name: total / self.world.size for name, total in zip(names, self.world.sum(means), strict=True)}

    def state(self) -> dict[str, np.ndarray]:
        """Everything a resumed run needs beside the weights, by names that no model has.

        When the optimiser's state is sharded, every worker has to call this.
        """
        state = self.optimizer.state()
        if self.average is not None:
            state |= self.average.state()
        numbers = {"optimizer.updates": self.updates, "scaler.good_steps": self.scaler.good_steps}
        state |= {name: np.array([value], np.int64) for name, value in numbers.items()}
        return state | {"loss_scale": np.array([self.scaler.scale], np.float32)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        self.optimizer.load_state(state)
        if self.average is not None:
            self.average.load_state(state)
        self.updates = int(state["optimizer.updates"][0])
        self.scaler.good_steps = int(state["scaler.good_steps"][0])
        self.scaler.scale = float(state["loss_scale"][0])
