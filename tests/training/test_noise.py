"""Draws of the samples on rays."""

import numpy as np
import pytest

from openlrm.training.noise import ray_noise


def test_draws_are_numpys_generator():
    random = np.random.default_rng([7, 3, 1])
    np.testing.assert_array_equal(ray_noise(7, 3, 1, 6, 4), random.random((2, 6, 4), dtype=np.float32))


@pytest.mark.parametrize(("rays", "samples"), [(4, 6), (5, 3), (1, 1)])
def test_workers_draw_slices_of_what_one_process_draws(rays, samples):
    size = 3
    whole = ray_noise(1, 2, 0, size * rays, samples)
    slices = [ray_noise(1, 2, 0, rays, samples, rank, size) for rank in range(size)]
    for kind in (0, 1):
        np.testing.assert_array_equal(np.concatenate([part[kind] for part in slices]), whole[kind])
