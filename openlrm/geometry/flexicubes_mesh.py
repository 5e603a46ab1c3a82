"""FlexiCubes (Shen et al., 2023, arXiv 2308.05371): the zero surface of a grid of distances, with gradients.

Dual marching cubes whose vertices are weighted means of a cube's crossings. The sign pattern is turned into a
`Topology` on the host, without a gradient; places of the vertices and their gradients are compiled loops behind a Cell.
Neither tetrahedra nor the QEF variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.geometry.sdf import grid_points
from openlrm.geometry.topology import Topology, find_topology
from openlrm.ops.host.arrays import float_array
from openlrm.utils.threads import spread_ranges

WEIGHT_SPREAD = 0.5
"""w: alphas and betas lie in 1 - w .. 1 + w, gammas in (1 - w) / 2 .. (1 + w) / 2."""

# Cubes of one task of a compiled loop.
_TASK_CUBES = 4096


@dataclass(frozen=True, eq=False)
class FlexiMesh:
    """A surface from `flexicubes`.

    Attributes:
        vertices: (V, 3) Tensor; the dual vertices first.
        faces: (F, 3) int32 numpy, counter-clockwise from outside.
        deviations: (E,) Tensor: how far each crossing's distance from its dual vertex is from the patch's mean
            distance. Their mean is the regulariser L_dev. Empty in inference.
        topology: what the signs decided.
    """

    vertices: Tensor
    faces: np.ndarray
    deviations: Tensor
    topology: Topology


def flexicubes(
    sdf: Tensor | np.ndarray,
    weights: Tensor | np.ndarray | None = None,
    points: Tensor | np.ndarray | None = None,
    *,
    topology: Topology | None = None,
    training: bool = False,
) -> FlexiMesh:
    """Mesh the zero surface of a grid of signed distances; negative is inside.

    The surface is open where it leaves the grid. Gradients go to distances, weights and points, not through signs.

    Args:
        sdf: (X + 1, Y + 1, Z + 1), float32 or float64.
        weights: raw weights, (X, Y, Z, 21) of all cubes or (N, 21) of the surface cubes, in the order of
            `Topology.cubes`: 12 betas of the edges, 8 alphas of the corners, gamma. None: zeros.
        points: (X + 1, Y + 1, Z + 1, 3) places of the grid's points; None: evenly in [-1, 1]^3.
        topology: of the signs of `sdf`, if they were looked at before.
        training: quads are split at a further vertex into four triangles, so that gamma has a gradient, and
            deviations are returned; otherwise along a diagonal into two.

    Raises:
        UserError: shapes that do not fit, or distances that are not finite.
    """
    sdf = _tensor(sdf)
    topology = topology or find_topology(float_array(sdf))
    if topology.shape != tuple(n - 1 for n in sdf.shape):
        raise UserError(f"distances {sdf.shape} do not belong to a topology of {topology.shape} cubes")
    whole, few = (*topology.shape, 21), (len(topology.cubes), 21)
    if weights is None:
        weights = np.zeros(few, np.float32)
    elif tuple(weights.shape) not in (whole, few):
        raise UserError(f"weights {tuple(weights.shape)} are neither of all cubes {whole} nor of surface cubes {few}")
    if points is None:
        points = grid_points(topology.shape, 2.0)
    elif tuple(points.shape) != (*sdf.shape, 3):
        raise UserError(f"points {tuple(points.shape)} are not those of a grid of {tuple(sdf.shape)} distances")
    weights, points = _tensor(weights, sdf.dtype), _tensor(points, sdf.dtype)
    vertices, deviations = _place()(sdf, points, weights, topology, training)
    return FlexiMesh(vertices, _faces(topology, float_array(weights), training), deviations, topology)


def _faces(topology: Topology, weights: np.ndarray, training: bool) -> np.ndarray:
    """Triangles of the quads: four around a centre, or two."""
    from openlrm.geometry.topology_kernels import split_quads

    quads = topology.quads
    if training:
        centres = topology.firsts[-1] + np.arange(len(quads), dtype=np.int32)
        sides = [np.stack([quads[:, k], quads[:, (k + 1) % 4], centres], 1) for k in range(4)]
        return np.stack(sides, 1).reshape(-1, 3)
    faces = np.empty((2 * len(quads), 3), np.int32)
    split_quads(quads, _gammas(topology, _rows(topology, weights)), faces)
    return faces


class PlaceVertices(nn.Cell):
    """Vertices and deviations of a topology by compiled loops on the host; PyNative."""

    def construct(self, sdf: Tensor, points: Tensor, weights: Tensor, topology: Topology, training: bool) -> tuple:
        """As of `flexicubes`: (V, 3), (E,)."""
        from openlrm.geometry import flexicubes_kernels as kernels

        sdf, points, weights = map(float_array, (sdf, points, weights))
        rows = _rows(topology, weights)
        count, quads = topology.firsts[-1], topology.quads if training else topology.quads[:0]
        vertices = np.empty((count + len(quads), 3), sdf.dtype)
        deviations = np.empty(topology.terms[-1] if training else 0, sdf.dtype)
        grid = (sdf, points, topology.cubes, topology.cases, topology.firsts, topology.terms)

        def work(first: int, last: int) -> None:
            bent = np.tanh(rows[first:last])
            kernels.place_vertices(*grid, first, last, bent, WEIGHT_SPREAD, vertices, deviations)

        spread_ranges(work, len(rows), _TASK_CUBES)
        if training:
            kernels.place_centres(quads, _gammas(topology, rows), vertices, vertices[count:])
        return Tensor.from_numpy(vertices), Tensor.from_numpy(deviations)

    def bprop(self, sdf, points, weights, topology, training, out, dout) -> tuple:
        """Gradients of distances, points and weights."""
        from openlrm.geometry import flexicubes_kernels as kernels

        sdf, points, weights = map(float_array, (sdf, points, weights))
        of_vertices, of_deviations = map(float_array, dout)
        rows, count = _rows(topology, weights), topology.firsts[-1]
        dvertices = of_vertices[:count].copy()
        drows = np.zeros_like(rows)
        if training:
            gammas, dgammas = _gammas(topology, rows), np.zeros(count, rows.dtype)
            vertices = float_array(out[0])
            kernels.place_centres_gradient(topology.quads, gammas, vertices, of_vertices[count:], dvertices, dgammas)
            # gamma = 1/2 + w/2 tanh(raw / 2)
            bent = (2 * gammas - 1) / WEIGHT_SPREAD
            np.add.at(drows[:, 20], topology.owners, dgammas * (WEIGHT_SPREAD / 4) * (1 - bent**2))
        dcorners = np.zeros((len(rows), 8, 4), sdf.dtype)
        grid = (sdf, points, topology.cubes, topology.cases, topology.firsts, topology.terms)

        def work(first: int, last: int) -> None:
            bent = np.tanh(rows[first:last])
            kernels.place_vertices_gradient(
                *grid, first, last, bent, WEIGHT_SPREAD, dvertices, of_deviations, dcorners, drows
            )

        spread_ranges(work, len(rows), _TASK_CUBES)
        dsdf, dpoints = np.zeros_like(sdf), np.zeros_like(points)
        kernels.scatter_corners(topology.cubes, dcorners, dsdf, dpoints)
        if weights.ndim == 4:
            dweights = np.zeros_like(weights)
            dweights.reshape(-1, 21)[topology.cubes] = drows
        else:
            dweights = drows
        return (*map(Tensor.from_numpy, (dsdf, dpoints, dweights)), None, None)


@cache
def _place() -> PlaceVertices:
    return PlaceVertices()


def _rows(topology: Topology, weights: np.ndarray) -> np.ndarray:
    """Raw weights of the surface cubes, (N, 21)."""
    return weights.reshape(-1, 21)[topology.cubes] if weights.ndim == 4 else weights


def _gammas(topology: Topology, rows: np.ndarray) -> np.ndarray:
    """(D,) gamma of the cube of each dual vertex: w sigmoid(raw) + (1 - w) / 2."""
    return (0.5 + WEIGHT_SPREAD / 2 * np.tanh(rows[:, 20] / 2))[topology.owners]


def _tensor(x: Tensor | np.ndarray, dtype: object = None) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor.from_numpy(np.ascontiguousarray(x))
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)
