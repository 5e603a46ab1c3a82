"""Time of a training step, measured on the run's own model, data and machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from openlrm.utils.logging import get_logger

if TYPE_CHECKING:
    from openlrm.training.config import TrainConfig
    from openlrm.training.update import Update

logger = get_logger(__name__)


def time_fact(update: Update, loader: Callable, config: TrainConfig, total: int, needed: int) -> str:
    """Do two steps, the first to warm up, and say how long the run takes by the second.

    The weights change in memory alone. LPIPS counts in these steps wherever it will in the run.

    Args:
        update: does a step.
        loader: as `openlrm.training.trainer.Loader`.
        config: of the loop.
        total: steps of the run.
        needed: estimated bytes; nothing is computed when the machine has fewer to spare.
    """
    from openlrm.training.estimate import duration, peak_memory

    spare = psutil.virtual_memory().available
    if update.world.any(needed > spare):
        return f"time: not measured, {spare / 2**30:.1f} GiB of memory are free"
    logger.info("timing two steps; Ctrl-C ends it")
    stream = loader(0, 0)
    seconds = 0.0
    for step in range(2):
        start = time.perf_counter()
        batches = [next(stream)[2] for _ in range(config.gradient_accumulation_steps)]
        update(batches, config.loss.perceptual_start + config.loss.perceptual_warmup + step)
        seconds = time.perf_counter() - start
    stream.close()
    measured = f"{seconds:.2f} s a step (the second of two), peak memory {peak_memory():.1f} GiB"
    return f"time: about {duration(total * seconds)} for {total} steps: {measured}; validation and saving come on top"
