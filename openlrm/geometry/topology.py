"""What the signs of a grid decide about its FlexiCubes surface: numpy and compiled loops, no gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openlrm.errors import UserError
from openlrm.geometry import cases as tables
from openlrm.utils.threads import spread_ranges


@dataclass(frozen=True, eq=False)
class Topology:
    """What the signs of a grid decide: surface cubes, their dual vertices, and quads.

    Attributes:
        shape: number of cubes along x, y and z.
        cubes: (N,) int64 surface cubes, ascending; index (x Y + y) Z + z.
        cases: (N,) uint8 whose patches each of them takes.
        firsts: (N + 1,) int32 dual vertices before each cube; the last is their number D.
        quads: (Q, 4) int32 dual vertices around each crossing grid edge, counter-clockwise from outside.
    """

    shape: tuple[int, int, int]
    cubes: np.ndarray
    cases: np.ndarray
    firsts: np.ndarray
    quads: np.ndarray

    @cached_property
    def owners(self) -> np.ndarray:
        """(D,) int32 row of `cubes` that each dual vertex belongs to."""
        return np.repeat(np.arange(len(self.cubes), dtype=np.int32), np.diff(self.firsts))

    @cached_property
    def terms(self) -> np.ndarray:
        """(N + 1,) int32 crossing edges before each cube; the last is the number of terms of the deviation."""
        return _running_sum(tables.CROSSINGS[self.cases])

    @cached_property
    def points(self) -> np.ndarray:
        """(P,) int64 grid points at the corners of surface cubes, ascending; index (x (Y + 1) + y) (Z + 1) + z."""
        touched = np.zeros([n + 1 for n in self.shape], bool)
        x, y, z = np.unravel_index(self.cubes, self.shape)
        for corner in range(8):
            touched[x + (corner & 1), y + (corner >> 1 & 1), z + (corner >> 2)] = True
        return np.flatnonzero(touched)

    @property
    def vertex_keys(self) -> np.ndarray:
        """(D,) int64 names of the dual vertices: cube * 4096 + sum of 2^edge of the patch."""
        patches = np.arange(self.firsts[-1]) - self.firsts[self.owners]
        member = tables.PATCH[self.cases[self.owners]] == patches[:, None]
        return self.cubes[self.owners] * 4096 + member @ (1 << np.arange(12))


def find_topology(sdf: np.ndarray) -> Topology:
    """Surface cubes, dual vertices and quads of the signs of a grid.

    Args:
        sdf: (X + 1, Y + 1, Z + 1), negative inside; zero is outside.

    Raises:
        UserError: not a grid of at least one cube, or values that are not finite.
    """
    from openlrm.geometry import topology_kernels as kernels

    if sdf.ndim != 3 or min(sdf.shape) < 2:
        raise UserError(f"distances {sdf.shape} are no grid", hint="three axes of at least two points are needed")
    shape = tuple(n - 1 for n in sdf.shape)
    cases, counts = np.empty(shape, np.uint8), np.empty(shape[0], np.int64)
    finite = np.empty(shape[0], bool)

    def look(first: int, last: int) -> None:
        finite[first:last] = kernels.find_cases(sdf, first, last, cases, counts)

    slabs = max(1, shape[0] // 16)
    spread_ranges(look, shape[0], slabs)
    if not finite.all():
        raise UserError("distances are not all finite", f"{np.sum(~np.isfinite(sdf))} of {sdf.size}")
    starts = _running_sum(counts)
    cubes, resolved = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.uint8)
    spread_ranges(lambda first, last: kernels.list_cubes(cases, first, last, starts, cubes, resolved), shape[0], slabs)
    firsts = _running_sum(tables.PATCHES[resolved])
    quads = np.empty((3 * len(cubes), 4), np.int32)
    order = np.empty(cases.size, np.int32)  # read only where it is written
    count = kernels.join_quads(cases, cubes, resolved, firsts, order, quads)
    return Topology(shape, cubes, resolved, firsts, quads[:count].copy())


def _running_sum(counts: np.ndarray) -> np.ndarray:
    """(N,) -> (N + 1,) int32, how many came before."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
