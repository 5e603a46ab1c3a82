"""Random positions of the samples on rays, from counters alone: a resumed run draws what it would have drawn."""

from __future__ import annotations

import numpy as np


def ray_noise(seed: int, step: int, part: int, rays: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the renderer's two passes.

    Args:
        seed: of the run.
        step: of the run.
        part: batch of the step, when gradients are accumulated.
        rays: number of rays.
        samples: samples of one pass.

    Returns:
        stratified noise and importance positions, each (rays, samples) float32 in [0, 1).
    """
    random = np.random.default_rng([seed, step, part])
    return tuple(random.random((2, rays, samples), dtype=np.float32))
