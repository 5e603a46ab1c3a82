"""The sparse grid and its marching against PyMCubes on every point, over several levels of blocks."""

import mcubes
import numpy as np
import pytest

from openlrm.geometry import density_grid
from openlrm.geometry.density_grid import DensityGrid, FieldQuery
from openlrm.geometry.marching import cases, triangles

THRESHOLD = 3.0


def waves(points):
    """Knots, holes and islands some 30 cells large at 64 points a side, cut by the cube."""
    rng = np.random.default_rng(0)
    direction, phase = rng.normal(size=(8, 3)) * 3, rng.uniform(0, 2 * np.pi, 8)
    return np.logaddexp(0, 3 + 5 * np.sin(points.astype(np.float64) @ direction.T + phase).sum(axis=1) / np.sqrt(8))


def flake(points):
    """Something on the last layer of points only."""
    spot = np.linalg.norm(points - np.float32([0.2, 1, -0.3]), axis=1) < 0.3
    return np.where(spot & (points[:, 1] == 1), 9.0, 0.0)


def ball(points):
    return np.maximum(3 + 20 * (0.5 - np.linalg.norm(points - np.float32([0.1, 0, -0.2]), axis=1)), 0)


def filled(field, size, chunk=5000, dense=False):
    grid, query = DensityGrid(size), FieldQuery(chunk)
    grid.fill(field, THRESHOLD, query, dense)
    assert query.done == query.total
    return grid, query


def rounded(vertices):
    """Order and rounding aside: vertices in thousandths of a cell."""
    return np.unique(np.rint(vertices * 1000).astype(int), axis=0)


def volume(vertices, faces):
    """Divergence theorem; its sign is the winding."""
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return (a * np.cross(b, c)).sum() / 6


# (size, node spacing) -> nodes every `stride` points; the last point is a node (65) or not.
GRIDS = {(40, 0.01): 1, (64, 0.07): 2, (64, 0.14): 4, (65, 0.14): 4, (70, 0.25): 8, (97, 0.17): 8}


@pytest.mark.parametrize(("size", "spacing"), GRIDS)
@pytest.mark.parametrize("field", [waves, flake, ball])
def test_the_surface_is_that_of_every_point(monkeypatch, field, size, spacing):
    monkeypatch.setattr(density_grid, "NODE_SPACING", spacing)
    grid, query = filled(field, size)
    assert grid.stride == GRIDS[size, spacing]
    vertices, faces = triangles(grid, THRESHOLD)
    axis = np.linspace(-1, 1, size).astype(np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    padded = np.pad(field(points).astype(np.float32).reshape((size,) * 3), 1)
    whole, whole_faces = mcubes.marching_cubes(padded, THRESHOLD)
    assert len(vertices) == len(whole) > 0
    assert len(faces) == len(whole_faces)
    np.testing.assert_array_equal(rounded(vertices), rounded(whole - 1))
    assert volume(vertices, faces) == pytest.approx(volume(whole - 1, whole_faces), rel=1e-6)
    if grid.stride > 2 and field is ball:
        assert query.total < 0.5 * size**3


def test_the_cost_grows_with_the_surface():
    """Twice the points a side have four times the surface; all of them would cost eight times as much."""
    nodes = {size: len(np.arange(0, size, DensityGrid(size).stride)) ** 3 for size in (192, 384)}
    asked = {size: filled(ball, size, 1 << 17)[1].total - nodes[size] for size in nodes}
    assert asked[384] / asked[192] < 4.5


def test_cases_are_closed_and_opposite():
    """A case and its complement have the same edges; those are where two corners differ."""
    lengths, edges = cases()
    for case in range(256):
        crossed = set()
        for axis in range(3):
            for first in range(2):
                for second in range(2):
                    low = [first, second]
                    low.insert(axis, 0)
                    high = low.copy()
                    high[axis] = 1
                    bits = [case >> (4 * x + 2 * y + z) & 1 for x, y, z in (low, high)]
                    if bits[0] != bits[1]:
                        crossed.add(4 * axis + 2 * first + second)
        assert set(edges[case, : 3 * lengths[case]]) == crossed
        assert (edges[case, 3 * lengths[case] :] == -1).all()


def test_chunks_are_whole():
    lengths = []

    def counted(points):
        lengths.append(len(points))
        return ball(points)

    filled(counted, 192, 1000)
    partial = [length for length in lengths if length != 1000]
    # The nodes, the open blocks and each round of following end with one that is not.
    assert len(partial) <= 6 < len(lengths) / 100
