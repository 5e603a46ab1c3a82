"""Regions against whole resizes, and against the formula pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlrm.datasets.cache import ByteCache
from openlrm.datasets.regions import composite, resize_region, whole_view
from openlrm.utils.images import blend, resize_bicubic


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 4), np.uint8)


def planes(rgba):
    return np.ascontiguousarray(rgba.transpose(2, 0, 1))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_region_is_the_crop_of_the_whole_resize(data):
    side, size = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 60))
    region = data.draw(st.integers(1, size))
    row, column = (data.draw(st.integers(0, size - region)) for _ in range(2))
    background = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    rgba = noise(side, seed=side)
    image = composite(*resize_region(planes(rgba), size, (row, column), region), background)
    whole = resize_bicubic(np.ascontiguousarray(blend(rgba / np.float32(255), background).transpose(2, 0, 1)), size)
    crop = np.clip(whole, 0, 1)[:, row : row + region, column : column + region]
    np.testing.assert_allclose(image, crop, atol=2e-6)
    alpha = resize_region(planes(rgba), size, (row, column), region)[1]
    whole_alpha = resize_bicubic(rgba[..., 3] / np.float32(255), size)
    np.testing.assert_allclose(alpha[0], whole_alpha[row : row + region, column : column + region], atol=2e-6)


def keys_cubic(signal, position, a=-0.75):
    """Value between the samples of a line, from Keys' formula as printed."""
    total, below = 0.0, int(np.floor(position))
    for k in range(below - 1, below + 3):
        s = abs(position - k)
        weight = (a + 2) * s**3 - (a + 3) * s**2 + 1 if s <= 1 else a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a
        total += weight * signal[min(max(k, 0), len(signal) - 1)]
    return total


def test_pixels_by_hand():
    rgba = noise(9).astype(np.float64) / 255
    on_grey = rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])
    image = composite(*resize_region(planes(noise(9)), 23, (4, 11), 7), 0.5)
    for row, column in ((0, 0), (3, 5), (6, 6)):
        y, x = (4 + row) * 8 / 22, (11 + column) * 8 / 22
        lines = [keys_cubic([*on_grey[line, :, 1]], x) for line in range(9)]
        assert image[1, row, column] == pytest.approx(np.clip(keys_cubic(lines, y), 0, 1), abs=1e-6)


def test_same_size_keeps_the_pixels():
    rgba = noise(12)
    np.testing.assert_allclose(
        whole_view(planes(rgba), 12, 1.0), blend(rgba / np.float32(255), 1.0).transpose(2, 0, 1), atol=1e-6
    )


def test_results_are_not_overwritten_by_the_next_call():
    first, alpha = resize_region(planes(noise(12)), 8, (0, 0), 8)
    kept = first.copy(), alpha.copy()
    resize_region(planes(noise(12, seed=1)), 8, (0, 0), 8)
    np.testing.assert_array_equal(first, kept[0])
    np.testing.assert_array_equal(alpha, kept[1])


def test_cache_stays_within_its_bytes():
    cache = ByteCache(100)
    for key in range(4):
        cache.put(key, np.full(30, key, np.uint8))
        assert cache.get(0) is not None  # used every time, so it outlives the others
    assert (cache.used, len(cache)) == (90, 3)
    assert cache.get(1) is None
    assert [cache.get(key)[0] for key in (0, 2, 3)] == [0, 2, 3]
    cache.put("large", np.zeros(101, np.uint8))
    assert len(cache) == 3
    nothing = ByteCache(0)
    nothing.put(1, np.zeros(1, np.uint8))
    assert nothing.get(1) is None
