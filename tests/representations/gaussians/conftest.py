import numpy as np
import pytest

from openlrm.representations.gaussians import Gaussians


@pytest.fixture
def cloud() -> Gaussians:
    """A hundred Gaussians in the middle of the world, without symmetry."""
    rng = np.random.default_rng(0)
    rotations = rng.normal(size=(100, 4))
    return Gaussians(
        rng.uniform(-0.4, 0.4, (100, 3)) * [1, 0.7, 0.4],
        rng.uniform(0.005, 0.08, (100, 3)),
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        rng.uniform(0.02, 0.98, (100, 1)),
        rng.uniform(0, 1, (100, 3)),
    )
