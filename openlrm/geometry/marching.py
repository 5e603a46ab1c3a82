"""Marching cubes (Lorensen and Cline, 1987) over the blocks of a grid that hold the surface."""

from __future__ import annotations

from functools import cache

import numpy as np

from openlrm.geometry.density_grid import DensityGrid
from openlrm.utils.threads import host_threads, spread


def triangles(grid: DensityGrid, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """March over what `grid.fill` has opened; the density is zero around the grid.

    Returns:
        Vertices (V, 3) float64 in cells from the grid's first point, one on each edge that the surface crosses, and
        faces (F, 3) int32, counter-clockwise seen from lower density.
    """
    from openlrm.geometry import grid_kernels as kernels

    lengths, edges = cases()
    threshold = np.float64(threshold)
    state = grid.blocks, len(grid.axis), grid.table, grid.bricks, threshold
    parts = np.array_split(grid.blocks, 4 * host_threads())
    counts = [0] * len(parts)

    def count_part(index: int) -> None:
        counts[index] = kernels.count_triangles(parts[index], *state[1:], lengths)

    spread(count_part, len(parts))
    count = sum(counts)
    faces = np.empty((count, 3), np.int32)
    vertices = np.empty((3 * count, 3), np.float64)
    found = kernels.march(*state, lengths, edges, vertices, faces)
    return vertices[:found], faces


@cache
def cases() -> tuple[np.ndarray, np.ndarray]:
    """Triangles of a cell for each set of its corners that are above the threshold, as PyMCubes makes them.

    Returns:
        Number of triangles (256,) int64, and the edges (256, 15) int64 that their corners lie on. Bit 4 x + 2 y + z of
        a case is the corner (x, y, z). An edge is four times its axis, plus 2 f + s for its place f, s along the
        other two.
    """
    import mcubes

    lengths, edges = np.zeros(256, np.int64), np.full((256, 15), -1, np.int64)
    for case in range(1, 255):
        corners = np.array([1.0 if case >> corner & 1 else -1.0 for corner in range(8)]).reshape(2, 2, 2)
        vertices, faces = mcubes.marching_cubes(corners, 0.0)
        for number, vertex in enumerate(vertices[faces.reshape(-1)]):
            axis = int(np.flatnonzero(vertex == 0.5)[0])
            first, second = np.delete(vertex, axis).astype(int)
            edges[case, number] = 4 * axis + 2 * first + second
        lengths[case] = len(faces)
    return lengths, edges
