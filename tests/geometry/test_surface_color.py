"""Colours added up behind a surface, against the integral."""

import numpy as np
import pytest

from openlrm.geometry.surface_color import seen_color

UP = np.float32([[0, 0, 1]])


def slab(density):
    """Density below z = 0, red growing with the depth."""

    def field(points):
        depth = -points[:, 2]
        return np.where(depth > 0, np.float32(density), 0), np.stack([depth, 0 * depth, 0 * depth + 0.5], axis=1)

    return field


@pytest.mark.parametrize("density", [5.0, 20.0, 60.0])
@pytest.mark.parametrize("length", [1.0, 0.3])
def test_constant_density(density, length):
    """The mean depth of an exponential that ends at D is 1/s - D exp(-s D) / (1 - exp(-s D))."""
    depth = 0.08
    rays = np.concatenate([np.float32([[0.2, -0.4, 0]]), UP * length], axis=1, dtype=np.float32)
    red, green, blue = seen_color(slab(density), depth)(rays)[0]
    left = np.exp(-density * depth)
    assert red == pytest.approx(1 / density - depth * left / (1 - left), abs=0.001), "a tenth of a step"
    assert (green, blue) == (0, pytest.approx(0.5))


def test_what_is_behind_something_opaque_is_not_seen():
    """A layer of 0.02 that stops all light, another colour below it."""
    layers = lambda p: (np.full(len(p), 2000.0, np.float32), np.where(p[:, 2:] > -0.02, 0.9, 0.1).repeat(3, axis=1))  # noqa: E731
    rays = np.concatenate([np.zeros((1, 3)), UP], axis=1, dtype=np.float32)
    np.testing.assert_allclose(seen_color(layers)(rays), 0.9, atol=1e-3)


def test_nothing_inside_and_no_depth():
    """Without density the first sample decides; without depth the point itself."""
    rays = np.concatenate([np.float32([[0, 0, -0.3]]), UP], axis=1, dtype=np.float32)
    assert seen_color(slab(0.0), 0.08)(rays)[0, 0] == pytest.approx(0.305)
    assert seen_color(slab(9.0), 0)(rays)[0, 0] == pytest.approx(0.3)
    assert np.isfinite(seen_color(slab(9.0))(rays * np.float32([1, 1, 1, 0, 0, 0]))).all()
