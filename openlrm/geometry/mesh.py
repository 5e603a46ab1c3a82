"""A coloured mesh of the surface where a field's density passes a threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openlrm.errors import UserError
from openlrm.geometry.density_grid import DensityGrid, Field, FieldQuery
from openlrm.geometry.marching import triangles
from openlrm.geometry.mesh_edit import compact, drop_folds
from openlrm.geometry.mesh_io import Texture
from openlrm.utils.logging import get_logger
from openlrm.utils.progress import Progress

logger = get_logger(__name__)


class Mesh(NamedTuple):
    """Triangles, with a colour at every vertex or a texture.

    Attributes:
        vertices: (V, 3) float32, world axes; in [-1, 1] unless it was scaled.
        faces: (F, 3) int32, counter-clockwise seen from outside (from lower density).
        colors: (V, 3) float32 in [0, 1], or None.
        normals: (V, 3) float32, outward and of length 1, or None where nobody needed them.
        texture: in the place of colours, or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    texture: Texture | None = None


def extract_mesh(
    density: Field,
    color: Field | None,
    size: int = 384,
    threshold: float = 3.0,
    chunk: int = 1 << 18,
    dense: bool = False,
    progress: Progress | None = None,
) -> Mesh:
    """Mesh the surface of a field by marching cubes (Lorensen and Cline, 1987).

    The grid has `size` points a side over [-1, 1], both ends included. The field counts as empty outside the
    cube: a surface that reaches the cube's side is closed by a flat cap on it. Memory grows with the surface: 0.8 GB
    in all for a process that meshes a fitted object at 384^3, 1.7 GB at 768^3.

    Args:
        density: (P, 3) float32 points -> (P,) density after softplus.
        color: (P, 3) float32 points -> (P, 3) colour, clipped to [0, 1]; None for a mesh without colours.
        size: grid points a side, at least 2.
        threshold: density of the surface, positive.
        chunk: points of one call of `density` and `color`; the last one of each stage has fewer.
        dense: evaluate every grid point instead of those where the surface can be; the mesh is the same
            unless a whole part of the surface is thinner than a triplane texel.
        progress: called with (points done, points known to be needed so far); they are equal at the end.

    Returns:
        The mesh: closed, without repeated vertices and without degenerate or repeated faces.

    Raises:
        UserError: no surface at the threshold, density or colour not finite, size or threshold out of range.
    """
    if size < 2:
        raise UserError(f"mesh_size must be at least 2, not {size}")
    if not (np.isfinite(threshold) and threshold > 0):
        raise UserError(f"mesh_thres must be positive, not {threshold}")
    query = FieldQuery(chunk, progress)
    grid = DensityGrid(size)
    grid.fill(density, threshold, query, dense)
    span = f"density lies in [{grid.lowest:.3g}, {grid.highest:.3g}]"
    if grid.lowest > threshold:
        logger.warning("%s, above the threshold %s everywhere: the mesh is the whole cube", span, threshold)
    vertices, faces = _weld(*triangles(grid, threshold), size)
    if len(faces) == 0:
        raise UserError(f"no surface at threshold {threshold}: {span}", hint=_advice(grid))
    del grid
    if color is None:
        return Mesh(vertices, faces)
    query.total += len(vertices)
    colors = query.ask(color, vertices, "colour")
    return Mesh(vertices, faces, np.clip(colors, 0, 1))


def _advice(grid: DensityGrid) -> str:
    """Name a threshold that gives a surface: one that a node, evaluated whatever the threshold, exceeds."""
    peak = grid.peak
    if peak < 1e-3:
        return "the field is empty; check the picture and the weights"
    middle = (grid.lowest + peak) / 2 if grid.lowest < peak else peak / 2
    short = f"{middle:.3g}"
    return f"try mesh_thres={short if float(short) < peak else middle}"


def _weld(index: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions in cells -> vertices (V, 3) float32 in [-1, 1], without repetitions, and their faces."""
    last = size - 1
    # Clipping moves what lies between the outermost points and the padding onto the side of the cube.
    index = np.clip(index, 0, last)
    vertices = (index * (2 / last) - 1).astype(np.float32)
    # Vertices sit on grid edges, one on each; they can only meet at a grid point, by clipping or by rounding.
    corner = np.rint(index)
    meets = (vertices == (corner * (2 / last) - 1).astype(np.float32)).all(axis=1)
    target = np.arange(len(vertices), dtype=np.int32)
    at = np.flatnonzero(meets)
    key = corner[at].astype(np.int64) @ [(last + 1) ** 2, last + 1, 1]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    target[at] = at[first][group]
    return compact(vertices, _cancel(target[faces], meets))


def _cancel(faces: np.ndarray, welded: np.ndarray) -> np.ndarray:
    """Drop faces that welding flattened: those with a repeated vertex, and pairs that lie back to back."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    # Only welding can make two faces of the same three vertices.
    return drop_folds(faces, np.flatnonzero(welded[faces].any(axis=1)))
