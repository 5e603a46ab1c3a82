"""Sizes of a run and what it will need, before it starts."""

from __future__ import annotations

import contextlib
import time

import psutil

from openlrm.parallel import World
from openlrm.training.config import RunConfig
from openlrm.training.estimate import MemoryEstimate, duration, peak_memory
from openlrm.training.task import Task
from openlrm.training.update import Update
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)


def estimate_step(task: Task, config: RunConfig, world: World) -> MemoryEstimate | None:
    """Memory of a step with the copies of the parameters that the options ask for."""
    train, workers = config.train, world.size
    # Gradient, its sum over the workers, two moments and, sharded, a copy of the weights.
    state = 3 / workers if workers > 1 and config.parallel_mode == "optim" else 2
    copies = 1 + (workers > 1) + state + train.use_ema + (train.gradient_accumulation_steps > 1)
    return task.memory(copies)


def run_facts(
    task: Task, update: Update, config: RunConfig, world: World, device: str, memory: MemoryEstimate | None
) -> list[str]:
    """Lines for the log and `dry_run`."""
    everything = sum(p.size for p in task.model.get_parameters())
    trained = sum(p.size for p in task.parameters)
    size, workers = config.train.batch_size, world.size
    several = f"batch of {size} on each of {workers} workers: {size * workers} together"
    return [
        f"device {device}, mode {config.mode} ({'PyNative' if config.mode else 'graph'})",
        f"{everything / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained",
        f"batch of {size}, one process" if workers == 1 else several,
        f"{len(task.objects)} objects, {task.per_epoch} batches an epoch, {update.total} steps in all",
        *([] if memory is None else [f"memory of a step: {memory}"]),
        *task.facts(),
    ]


def time_fact(task: Task, update: Update, config: RunConfig, memory: MemoryEstimate | None) -> str:
    """Do two steps, the first to warm up, and say how long the run takes by the second.

    The weights change in memory alone. Every part of the loss counts in these steps.

    Args:
        task: what is trained.
        update: does a step.
        config: of the loop.
        memory: estimate; nothing is computed when the machine has less to spare.
    """
    spare = psutil.virtual_memory().available
    if update.world.any(memory is not None and memory.total > spare):
        return f"time: not measured, {spare / 2**30:.1f} GiB of memory are free"
    logger.info("timing two steps; Ctrl-C ends it")
    accumulated, seconds = config.train.gradient_accumulation_steps, 0.0
    with contextlib.closing(task.batches(0, 0, -(-2 * accumulated // task.per_epoch) + 1)) as stream:
        for step in range(2):
            start = time.perf_counter()
            batches = [next(stream)[2] for _ in range(accumulated)]
            update(batches, task.settled + step)
            seconds = time.perf_counter() - start
    measured = f"{seconds:.2f} s a step (the second of two), peak memory {peak_memory():.1f} GiB"
    left = duration(update.total * seconds)
    return f"time: about {left} for {update.total} steps: {measured}; validation and saving come on top"
