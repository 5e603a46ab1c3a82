"""Changes of a batch's world that leave its pictures true: turned around the upward axis, nearer or farther."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets import Item


def augment(batch: Item, rng: np.random.Generator, rotate: bool, chance: float, scales: tuple[float, float]) -> Item:
    """Draw a world for each object.

    All cameras of an object are turned by one angle, and its normals with them; or moved by one factor, and its depths
    with them, so that it seems smaller or larger.

    Args:
        batch: of N objects.
        rng: of the draws.
        rotate: whether cameras are turned.
        chance: how often they are moved.
        scales: least and greatest factor.
    """
    count = len(batch.images)
    angles = rng.uniform(0, 2 * np.pi, count) if rotate else np.zeros(count)
    factors = np.where(rng.random(count) < chance, rng.uniform(*scales, count), 1.0)
    cosine, sine = np.cos(angles), np.sin(angles)
    turn = np.zeros((count, 3, 3))
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cosine, -sine, sine, cosine
    turn[:, 2, 2] = 1
    turn, factors = turn.astype(np.float32), factors.astype(np.float32)
    return replace(
        batch,
        source_cameras=_moved(batch.source_cameras, turn, factors),
        cameras=_moved(batch.cameras, turn, factors),
        depths=None if batch.depths is None else batch.depths * factors[:, None, None, None, None],
        normals=None if batch.normals is None else np.einsum("nij,nmjhw->nmihw", turn, batch.normals),
    )


def _moved(cameras: Camera, turn: np.ndarray, factors: np.ndarray) -> Camera:
    c2w = np.einsum("nij,nmjk->nmik", turn, cameras.c2w)
    c2w[..., 3] *= factors[:, None, None]
    return Camera(c2w, cameras.intrinsics)


def noisy_records(cameras: Camera, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Records (N, K, 16) of cameras as the network is told them: each number changed by at most `amount`."""
    records = cameras.source_record()
    return records + rng.uniform(-amount, amount, records.shape).astype(np.float32)
