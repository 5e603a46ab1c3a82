"""Empty space left out by the host renderer: what may be left out, and that pictures stay what they are."""

import numpy as np
import pytest

from openlrm.cameras import Camera, turntable
from openlrm.representations.triplane.host import HostRenderer, occupancy
from openlrm.representations.triplane.host.occupancy import THRESHOLD, find_occupied

CAMERAS = Camera(turntable(5, radius=2.1))


def test_every_cell_with_density_and_its_neighbours():
    """Against the definition, cell by cell, for a few points of density at the corners of cells."""
    cells = 12
    dense = np.array([[0, 0, 0], [7, 3, 11], [12, 12, 5]])

    def density(points):
        corners = np.rint((points + 1) * cells / 2)
        hit = (np.abs(corners[:, None] - dense).max(-1) == 0).any(1)
        return np.where(hit, 2 * THRESHOLD, 0.5 * THRESHOLD)

    expected = np.zeros((cells,) * 3, np.uint8)
    for cell in np.ndindex(expected.shape):
        low, high = np.array(cell) - 1, np.array(cell) + 2
        expected[cell] = ((dense >= low) & (dense <= high)).all(1).any()
    np.testing.assert_array_equal(find_occupied(density, cells), expected)


def test_what_is_not_a_number_is_not_left_out():
    assert find_occupied(lambda points: np.full(len(points), np.nan), 4).all()


def blob_renderer(samples: int) -> HostRenderer:
    """A solid blob: density from the (x, y) plane's first channel where |z| is small by the others."""
    side, channels = 32, 8
    line = (np.arange(side) + 0.5) / side * 2 - 1
    radius = np.hypot(line[:, None], line[None])
    planes = np.zeros((3, channels, side, side), np.float32)
    planes[:, 0] = np.clip(40 * (0.45 - radius), -40, 12)
    planes[:, 1:] = np.random.default_rng(0).uniform(size=(3, channels - 1, side, side))
    decoder = {f"net.{layer}.bias": np.zeros(64, np.float32) for layer in (0, 2, 4)}
    first = np.zeros((64, 3 * channels), np.float32)
    first[:3, [0, channels, 2 * channels]] = -np.eye(3)  # how far outside, plane by plane
    first[3:9, [1, 2, 3, channels + 1, channels + 2, 2 * channels + 1]] = np.eye(6)
    head = np.zeros((4, 64), np.float32)
    head[0, :3] = -1
    head[1:, 3:9] = np.random.default_rng(1).normal(0, 2, (3, 6))
    decoder |= {"net.0.weight": first, "net.2.weight": np.eye(64), "net.4.weight": np.eye(64), "net.6.weight": head}
    decoder["net.6.bias"] = np.array([9, 0, 0, 0])
    return HostRenderer(planes, {name: value.astype(np.float32) for name, value in decoder.items()}, samples)


@pytest.mark.parametrize("camera", list(CAMERAS))
def test_pictures_stay(camera):
    """Opacity falls by at most threshold times length; colours follow."""
    plain, skipping = blob_renderer(96), blob_renderer(96)
    skipping.skip_empty()
    assert 0.02 < skipping._field.occupied.mean() < 0.4
    expected, found = plain.render(camera, 48, 1.0), skipping.render(camera, 48, 1.0)
    assert expected[2].max() > 0.99 and (expected[2] < 0.01).mean() > 0.5
    assert np.abs(found[0] - expected[0]).max() < 0.0018
    assert np.abs(found[2] - expected[2]).max() < 0.0018
    # Against many samples it is as good as the plain one.
    truth = blob_renderer(768).render(camera, 48, 1.0)[0]
    errors = [np.sqrt(((picture[0] - truth) ** 2).mean()) for picture in (found, expected)]
    assert errors[0] < 1.02 * errors[1]


def test_what_is_empty_is_not_looked_at():
    """A field that changes where it was found empty changes no picture."""
    renderer = blob_renderer(192)
    renderer.skip_empty()
    before = renderer.render(CAMERAS[0], 32, 1.0)[0]
    spoiled = renderer._field.table.copy().reshape(3, 34, 34, 64)
    spoiled[0, :3, :, :3] = -1e3  # y < -0.9, far from the blob: as if it were inside
    renderer._field = renderer._field._replace(table=spoiled.reshape(-1))
    np.testing.assert_array_equal(renderer.render(CAMERAS[0], 32, 1.0)[0], before)
    renderer._field = renderer._field._replace(occupied=np.ones((1, 1, 1), np.uint8))
    assert np.abs(renderer.render(CAMERAS[0], 32, 1.0)[0] - before).max() > 0.1


def test_nothing_to_leave_out_is_the_plain_renderer(monkeypatch):
    monkeypatch.setattr(occupancy, "THRESHOLD", 0.0)
    plain, skipping = blob_renderer(48), blob_renderer(48)
    skipping.skip_empty()
    assert skipping._field.occupied.all()
    for found, expected in zip(skipping.render(CAMERAS[1], 32, 0.5), plain.render(CAMERAS[1], 32, 0.5), strict=True):
        np.testing.assert_array_equal(found, expected)
