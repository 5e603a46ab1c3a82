"""Planes -> signed distances on a grid -> mesh -> pictures, with gradients back to the planes; PyNative.

What is far from the surface has no influence on it: distances are looked at everywhere without a gradient, and heads
with one are asked at the corners of the cubes that the surface passes. The mesh is the same as if all were asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.geometry.flexicubes_mesh import FlexiMesh, flexicubes
from openlrm.geometry.sdf import displace, grid_points, guard_surface, require_surface
from openlrm.geometry.surface import SurfaceViews, render_surface
from openlrm.geometry.topology import Topology, find_topology
from openlrm.ops import build_table, renders_on_host, scatter_nd
from openlrm.ops.host.arrays import host_array
from openlrm.representations.surface.heads import CORNERS, GeometryDecoder
from openlrm.representations.surface.host import HostHead

# Points of one call of a head without a gradient.
_CHUNK = 1 << 16
# Points a side that an empty grid is pulled back by.
_LEAD_OUT = 17


@dataclass(frozen=True, eq=False)
class Geometry:
    """What the heads say of one object.

    Attributes:
        sdf: (R + 1, R + 1, R + 1) Tensor, negative inside; with a gradient at the corners of surface cubes.
        points: (R + 1, R + 1, R + 1, 3) Tensor, the grid's points, displaced.
        weights: (N, 21) Tensor, raw, of the surface cubes.
        topology: what the signs decide.
        empty: () Tensor: mean |distance| of an object that had no surface and was given a small one; else 0.
        was_empty: whether it had none.
    """

    sdf: Tensor
    points: Tensor
    weights: Tensor
    topology: Topology
    empty: Tensor
    was_empty: bool

    def mesh(self, training: bool = False) -> FlexiMesh:
        """The surface; see `openlrm.geometry.flexicubes`."""
        return flexicubes(self.sdf, self.weights, self.points, topology=self.topology, training=training)


class SurfaceSynthesizer(nn.Cell):
    """Surfaces of triplanes (1, 3, C, H, W), one object at a time.

    Args:
        channels: C.
        grid_res: R, cubes along a side of the grid.
        grid_scale: length of that side; the planes cover [-1, 1]^3 and fade out beyond.
    """

    def __init__(self, channels: int, grid_res: int, grid_scale: float):
        super().__init__()
        self.grid_res, self.grid_scale = grid_res, grid_scale
        self.decoder = GeometryDecoder(channels)

    @property
    def grid(self) -> np.ndarray:
        """(R + 1, R + 1, R + 1, 3) points of the grid, not displaced."""
        return grid_points((self.grid_res,) * 3, self.grid_scale)

    def distances(self, planes: Tensor) -> np.ndarray:
        """Signed distances (R + 1, R + 1, R + 1) at all points of the grid; no gradient."""
        points = self.grid.reshape(-1, 3)
        return self.ask(planes, "net_sdf", points).reshape(self.grid.shape[:3])

    def ask(self, planes: Tensor, head: str, points: np.ndarray) -> np.ndarray:
        """What a head gives (P, outputs), before any activation, at points (P, 3); no gradient."""
        if renders_on_host():
            return HostHead(host_array(ops.stop_gradient(planes))[0], self.decoder, head)(points)
        table, net = build_table(planes), getattr(self.decoder, head)
        # One shape serves all calls.
        padded = np.pad(points, ((0, -len(points) % _CHUNK), (0, 0))).reshape(-1, _CHUNK, 3)
        parts = [net(self.decoder.features(table, Tensor(part))).asnumpy() for part in padded]
        return np.concatenate(parts)[: len(points)] if parts else np.empty((0, 3), np.float32)

    def geometry(self, planes: Tensor, guard: bool = False) -> Geometry:
        """Distances, places and weights that a surface is made of.

        Args:
            planes: (1, 3, C, H, W).
            guard: give an object without a surface a small one, see `openlrm.geometry.guard_surface`.

        Raises:
            UserError: no surface, unless guarded; distances that are not finite.
        """
        far, table = self.distances(planes), build_table(planes)
        if guard:
            place = Tensor(self.grid.copy())
            guarded, place, _, was_empty = guard_surface(Tensor(far), place)
            if was_empty:
                return self._guarded(guarded, place, table)
        else:
            require_surface(far)
        topology = find_topology(far)
        inner = topology.points
        features = self.decoder.features(table, Tensor(self.grid.reshape(-1, 3)[inner]))
        near, known = self.decoder.distances(features), Tensor(far.reshape(-1)[inner])
        # The two ways of asking round differently: where that would change a sign, and so the topology, it is kept.
        near = ops.where((near < 0) == (known < 0), near, known)
        index = Tensor(inner.astype(np.int32)[:, None])
        sdf = ops.tensor_scatter_update(Tensor(far.reshape(-1)), index, near).reshape(far.shape)
        raw = scatter_nd()(index, self.decoder.offsets(features), (far.size, 3)).reshape(self.grid.shape)
        weights = self.decoder.weights(features, np.searchsorted(inner, _corners(topology)))
        points = displace(Tensor(self.grid.copy()), raw)
        return Geometry(sdf, points, weights, topology, ops.zeros((), sdf.dtype), False)

    def _guarded(self, sdf: Tensor, points: Tensor, table: Tensor) -> Geometry:
        """The surface of a guard, which has no gradient, and a term that leads back to one of the object's own."""
        topology = find_topology(host_array(sdf))
        step = max(1, self.grid_res // (_LEAD_OUT - 1))
        asked = np.ascontiguousarray(self.grid[::step, ::step, ::step].reshape(-1, 3))
        empty = self.decoder.distances(self.decoder.features(table, Tensor(asked))).abs().mean()
        weights = ops.zeros((len(topology.cubes), 21), sdf.dtype)
        return Geometry(sdf, points, weights, topology, empty, True)

    def colors(self, planes: Tensor, points: Tensor) -> Tensor:
        """Colours (P, 3), a little beyond [0, 1], at points (P, 3), with gradients for planes, head and points."""
        return self.decoder.colors(self.decoder.features(build_table(planes), points, movable=True))

    def views(
        self,
        planes: Tensor,
        mesh: FlexiMesh,
        w2c: np.ndarray,
        intrinsics: np.ndarray,
        size: tuple[int, int],
        antialias: bool = True,
    ) -> tuple[Tensor, SurfaceViews]:
        """Look at a mesh of these planes.

        Args:
            planes: (1, 3, C, H, W).
            mesh: of `Geometry.mesh`.
            w2c: (M, 4, 4) world to camera, OpenGL axes.
            intrinsics: (4,) or (M, 4) fx, fy, cx, cy divided by the picture's side.
            size: height and width.
            antialias: see `openlrm.geometry.render_surface`.

        Returns:
            Pictures (M, 3, H, W) in [0, 1] on white, not antialiased, and the rest of what is seen.
        """
        seen = render_surface(mesh.vertices, mesh.faces, w2c, intrinsics, size, antialias=antialias)
        if not len(seen.pixels):
            return ops.ones((len(w2c), 3, *size), mesh.vertices.dtype), seen
        colors = self.colors(planes, seen.covered_positions())
        return seen.paint(ops.clamp(colors, 0, 1)), seen


def _corners(topology: Topology) -> np.ndarray:
    """(N, 8) grid points, by flat index, at the corners of surface cubes."""
    x, y, z = (axis[:, None] for axis in np.unravel_index(topology.cubes, topology.shape))
    corner = np.arange(CORNERS)
    _, rows, columns = (n + 1 for n in topology.shape)
    return ((x + (corner & 1)) * rows + y + (corner >> 1 & 1)) * columns + z + (corner >> 2)
