"""Random positions of the samples on rays, from counters alone: a resumed run draws what it would have drawn."""

from __future__ import annotations

import numpy as np


def ray_noise(
    seed: int, step: int, part: int, rays: int, samples: int, rank: int = 0, size: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the renderer's two passes.

    Args:
        seed: of the run.
        step: of the run.
        part: batch of the step, when gradients are accumulated.
        rays: number of rays.
        samples: samples of one pass.
        rank: number of the worker, whose rays are a slice of `size * rays`: it gets the slice of their draws.
        size: number of workers.

    Returns:
        stratified noise and importance positions, each (rays, samples) float32 in [0, 1).
    """
    count = rays * samples
    return tuple(
        _draws([seed, step, part], (kind * size + rank) * count, count).reshape(rays, samples) for kind in (0, 1)
    )


def _draws(key: list[int], first: int, count: int) -> np.ndarray:
    """Numbers `first` .. `first + count - 1` of what `default_rng(key)` would draw in one go."""
    bits = np.random.PCG64(key)
    # A state gives two float32.
    skipped, odd = divmod(first, 2)
    bits.advance(skipped)
    return np.random.Generator(bits).random(odd + count, dtype=np.float32)[odd:]
