"""What changes with the step: learning rate and weight of the perceptual loss. Steps count from 0."""

from __future__ import annotations

import math

from openlrm.training.config import ImageLossConfig, SchedulerConfig


def learning_rate(step: int, total: int, start: float, config: SchedulerConfig) -> float:
    """Rate of a step: a linear rise to `start`, then the chosen course down to `end_learning_rate`.

    Args:
        step: 0 .. total - 1; later ones get the last rate.
        total: steps of the run.
        start: rate after the warm-up.
        config: course and warm-up.
    """
    if step < config.warmup_steps:
        return start * (step + 1) / config.warmup_steps
    if config.scheduler == "constant":
        return start
    if config.scheduler == "restarts":
        phase = (step - config.warmup_steps) % config.restart_steps / config.restart_steps
        return _between(config.end_learning_rate, start, 0.5 * (1 + math.cos(math.pi * phase)))
    phase = min(1.0, (step - config.warmup_steps) / max(1, total - 1 - config.warmup_steps))
    share = 1 - phase if config.scheduler == "linear" else 0.5 * (1 + math.cos(math.pi * phase))
    return _between(config.end_learning_rate, start, share)


def _between(end: float, start: float, share: float) -> float:
    return end + (start - end) * share


def perceptual_weight(step: int, config: ImageLossConfig) -> float:
    """Weight of LPIPS in a step: 0 before `perceptual_start`, then a linear rise over `perceptual_warmup` steps."""
    since = step - config.perceptual_start
    if since < 0:
        return 0.0
    if since >= config.perceptual_warmup:
        return config.perceptual_weight
    return config.perceptual_weight * (since + 1) / (config.perceptual_warmup + 1)
