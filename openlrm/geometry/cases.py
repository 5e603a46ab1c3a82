"""A cube's 256 sign patterns in dual marching cubes (Nielson, 2004), derived from the rules.

Corner i of a cube lies at (i & 1, i >> 1 & 1, i >> 2 & 1). A case is the sum of 2^i over the corners inside. Crossing
edges of a case fall into patches; each patch makes one vertex of the dual surface.
"""

from __future__ import annotations

import numpy as np

EDGES = np.array(
    [(0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4)], np.int8
)
"""(12, 2) corners at the ends of each edge, in the order of FlexiCubes' weights."""

_CORNERS = np.array([(i & 1, i >> 1 & 1, i >> 2 & 1) for i in range(8)])
_FACES = [{i for i in range(8) if _CORNERS[i, axis] == side} for axis in range(3) for side in range(2)]
"""Corners of each face; face 2 * axis + side is the one towards the neighbour at that side."""


def _crossing_edges(case: int, within: set[int]) -> list[int]:
    """Edges between the given corners with one end inside."""
    return [e for e, ends in enumerate(EDGES) if within.issuperset(ends) and _inside(case, ends).sum() == 1]


def _inside(case: int, corners: np.ndarray) -> np.ndarray:
    return case >> corners.astype(int) & 1


def _patches(case: int) -> tuple[np.ndarray, int]:
    """Patch of each edge (12,), -1 where none crosses it, and the face whose four crossings are one patch, or -1."""
    patch = np.full(12, -1)
    crossing = _crossing_edges(case, set(range(8)))
    patch[crossing] = crossing
    ambiguous = []
    for face, corners in enumerate(_FACES):
        cut = _crossing_edges(case, corners)
        if len(cut) == 4:
            # Inside corners that meet on the diagonal alone stay apart.
            ambiguous.append((face, cut))
            pairs = [[e for e in cut if corner in EDGES[e]] for corner in corners if case >> corner & 1]
        else:
            pairs = [cut] if cut else []
        for first, second in pairs:
            patch[patch == patch[second]] = patch[first]
    patch[crossing] = np.unique(patch[crossing], return_inverse=True)[1]
    return patch, next((face for face, cut in ambiguous if len(set(patch[cut])) == 1), -1)


_FOUND = [_patches(case) for case in range(256)]

PATCH = np.array([patch for patch, _ in _FOUND], np.int8)
"""(256, 12) which patch of a case an edge belongs to; -1: it does not cross the surface."""

PATCHES = (PATCH.max(1) + 1).astype(np.int8)
"""(256,) number of patches."""

CROSSINGS = (PATCH >= 0).sum(1).astype(np.int8)
"""(256,) number of crossing edges."""

PATCH_EDGES = np.array([np.lexsort((np.arange(12), np.where(patch < 0, 12, patch))) for patch in PATCH], np.int8)
"""(256, 12) edges patch by patch, ascending; those that do not cross come last."""

PATCH_SIZES = np.array([[(patch == p).sum() for p in range(4)] for patch in PATCH], np.int8)
"""(256, 4) number of edges of each patch."""

TWISTED_FACE = np.array([face for _, face in _FOUND], np.int8)
"""(256,) face across which a case and another of this kind would make an edge of four faces; -1: none.

Where both cubes at such a face are of this kind, both take the patches of the opposite case.
"""


def _edges_around() -> np.ndarray:
    """Numbers that one grid edge has in the four cubes around it, by ascending index of the cube."""
    around = np.empty((3, 4), np.int64)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        for number, ends in enumerate(EDGES):
            low, high = _CORNERS[ends[0]], _CORNERS[ends[1]]
            if low[axis] != high[axis]:
                # A cube before the edge has it on its far side.
                first, second = 1 - low[others]
                around[axis, 2 * first + second] = number
    return around


EDGES_AROUND = _edges_around()
"""(3, 4): of an edge along x, y, z, its number in the four cubes around it."""
