"""Objects written for the tests: noise seen from everywhere, small enough to read in no time."""

import json

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import look_at

VIEWS = 6
SIDE = 20


def directions(count: int, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


@pytest.fixture
def write_set():
    """Write a set of objects; each uid has its own pixels and poses."""

    def write(root, uids, views=VIEWS, side=SIDE, meta=True):
        for uid in uids:
            folder, seed = root / uid, sum(uid.encode())
            (folder / "rgba").mkdir(parents=True)
            (folder / "pose").mkdir()
            np.save(folder / "intrinsics.npy", np.array([[0.8, 0.7], [0.5, 0.45], [1, 1]]) * side)
            pixels = np.random.default_rng(seed).integers(0, 256, (views, side, side, 4), np.uint8)
            for i, pose in enumerate(look_at(directions(views, seed) * np.linspace(1.9, 2.6, views)[:, None])):
                Image.fromarray(pixels[i], "RGBA").save(folder / "rgba" / f"{i:03d}.png")
                np.save(folder / "pose" / f"{i:03d}.npy", pose)
        if meta:
            (root / "meta.json").write_text(json.dumps(list(uids)))
        return root

    return write
