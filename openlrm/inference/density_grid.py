"""The density of a field on a regular grid, evaluated only where its surface can be.

Notation: the grid has size^3 points over [-1, 1]^3. Nodes are every stride-th of them, blocks the cubes
between neighbouring nodes. A block is open when the field may cross the threshold inside it, judged by the
nodes around it; open blocks are evaluated at every point, the others are filled with the value of a node.
Then the surface is followed: where it reaches a face that an open block shares with a closed one, that one is
opened too. So a part of the surface is missed only if all of it hides between nodes, and what is found is
what evaluating every point finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from openlrm.errors import UserError

Field = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]

# Two thirds of a texel of a 64 x 64 plane: a trained field has little detail finer than a texel.
NODE_SPACING = 0.021
# A block's field is thought to reach beyond the values at the nodes around it by this part of their range.
MARGIN = 0.5
# Densities below it are all called empty; it bounds the logarithm.
DENSITY_FLOOR = 1e-6


class FieldQuery:
    """Asks a field in chunks, checks the answers and counts.

    Attributes:
        done: points answered so far.
        total: points announced so far; what there is to do becomes known on the way.
    """

    def __init__(self, chunk: int, progress: Progress | None = None) -> None:
        self.chunk = chunk
        self.done = self.total = 0
        self._progress = progress

    def ask(self, field: Field, points: np.ndarray, name: str) -> np.ndarray:
        """Evaluate `field` at points (P, 3), which have been announced in `total`.

        Args:
            field: (P, 3) float32 -> (P, ...).
            points: (P, 3) float32.
            name: of the quantity, for the error.

        Returns:
            (P, ...) float32.

        Raises:
            UserError: NaN or infinity among the values.
        """
        parts = []
        for start in range(0, len(points), self.chunk):
            part = np.asarray(field(points[start : start + self.chunk]), np.float32)
            if not np.isfinite(part).all():
                raise UserError(f"the field's {name} is NaN or infinite", hint="are the weights damaged?")
            parts.append(part)
            self.done += len(part)
            if self._progress is not None:
                self._progress(self.done, self.total)
        return np.concatenate(parts)


class DensityGrid:
    """Density on size^3 points, with one layer of zeros around them.

    Attributes:
        padded: (size + 2,)^3 float32, index order x, y, z.
        values: its inside; values[i, j, k] belongs to the point (axis[i], axis[j], axis[k]).
        axis: (size,) float32 coordinates, -1 to 1 inclusive.
        nodes: indices along an axis of the nodes, first and last point among them.
        lowest: smallest density that was evaluated.
        highest: largest density that was evaluated.
    """

    def __init__(self, size: int) -> None:
        self.padded = np.zeros((size + 2,) * 3, np.float32)
        self.values = self.padded[1:-1, 1:-1, 1:-1]
        self.axis = np.linspace(-1, 1, size).astype(np.float32)
        self.lowest, self.highest = np.inf, -np.inf
        stride = max(1, int(NODE_SPACING * (size - 1) / 2))
        self.nodes = np.unique(np.append(np.arange(0, size, stride), size - 1))

    def fill(self, density: Field, threshold: float, query: FieldQuery, dense: bool = False) -> None:
        """Evaluate the density wherever its surface at `threshold` can be.

        Args:
            density: (P, 3) float32 -> (P,), at least 0.
            threshold: of the surface.
            query: asks, checks and counts.
            dense: evaluate every point, as a grid of nodes alone would be anyway.

        Raises:
            UserError: a density that is not finite.
        """
        todo = np.ones(self.values.shape, bool)
        if dense or len(self.nodes) == len(self.axis):
            self._evaluate(density, todo, query)
            return
        todo[...] = False
        todo[np.ix_(self.nodes, self.nodes, self.nodes)] = True
        self._evaluate(density, todo, query)
        coarse = self.node_values()
        self._spread(coarse)
        known, opened = todo, np.zeros((len(self.nodes) - 1,) * 3, bool)
        fresh = _may_cross(coarse, threshold)
        while fresh.any():
            todo = self._points_of(fresh)
            todo &= ~known
            self._evaluate(density, todo, query)
            known |= todo
            opened |= fresh
            fresh = self._crossed(threshold) & ~opened

    def node_values(self) -> np.ndarray:
        """Return the density at the nodes, which is always evaluated."""
        return self.values[np.ix_(self.nodes, self.nodes, self.nodes)]

    def _evaluate(self, density: Field, todo: np.ndarray, query: FieldQuery) -> None:
        query.total += int(np.count_nonzero(todo))
        for flat in _batches(todo.reshape(-1), query.chunk):
            index = np.unravel_index(flat, todo.shape)
            points = np.stack([self.axis[i] for i in index], axis=-1)
            found = query.ask(density, points, "density").reshape(-1)
            self.values[index] = found
            self.lowest = min(self.lowest, float(found.min()))
            self.highest = max(self.highest, float(found.max()))

    def _spread(self, coarse: np.ndarray) -> None:
        """Give every point the value of the node below it, a corner of each closed block it belongs to."""
        below = np.searchsorted(self.nodes, np.arange(len(self.axis)), "right") - 1
        for i, node in enumerate(below):
            self.values[i] = coarse[node][below][:, below]

    def _points_of(self, blocks: np.ndarray) -> np.ndarray:
        """Mark the points of these blocks, faces included."""
        index = np.arange(len(self.axis))
        before = np.maximum(np.searchsorted(self.nodes, index, "left") - 1, 0)
        after = np.minimum(np.searchsorted(self.nodes, index, "right") - 1, len(blocks) - 1)
        points = np.empty(self.values.shape, bool)
        for i in index:
            plane = blocks[before[i]] | blocks[after[i]]
            plane = plane[before] | plane[after]
            points[i] = plane[:, before] | plane[:, after]
        return points

    def _crossed(self, threshold: float) -> np.ndarray:
        """Mark the blocks that have points on both sides, faces included."""
        sides = []
        for reach in (np.greater_equal, np.less_equal):
            rows = []
            for first, last in zip(self.nodes[:-1], self.nodes[1:], strict=True):
                plane = reach(self.values[first : last + 1], threshold).any(axis=0)
                for axis in (0, 1):
                    plane = np.moveaxis(plane, axis, 0)
                    part = np.logical_or.reduceat(plane, self.nodes[:-1]) | plane[self.nodes[1:]]
                    plane = np.moveaxis(part, 0, axis)
                rows.append(plane)
            sides.append(np.stack(rows))
        return sides[0] & sides[1]


def _may_cross(coarse: np.ndarray, threshold: float) -> np.ndarray:
    """Mark the blocks, from (n,)^3 node values, whose field may lie on both sides of the threshold."""
    # The field is smooth in raw density; after softplus it is flat where empty and hides what rises beside
    # it.
    raw, level = _inverse_softplus(coarse), _inverse_softplus(np.float32(threshold))
    low, high = _neighbours(raw, np.minimum), _neighbours(raw, np.maximum)
    margin = MARGIN * (high - low)
    return (high + margin >= level) & (low - margin <= level)


def _neighbours(nodes: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """Reduce over the nodes of each block and of the blocks around it: (n,)^3 to (n - 1,)^3."""
    for axis in range(3):
        nodes = np.moveaxis(nodes, axis, 0)
        blocks = extreme(nodes[1:], nodes[:-1])
        wide = blocks.copy()
        wide[1:] = extreme(wide[1:], blocks[:-1])
        wide[:-1] = extreme(wide[:-1], blocks[1:])
        nodes = np.moveaxis(wide, 0, axis)
    return nodes


def _inverse_softplus(density: np.ndarray) -> np.ndarray:
    density = np.maximum(density, DENSITY_FLOOR)
    return density + np.log(-np.expm1(-density))


def _batches(mask: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Indices where a flat mask is set, `length` at a time, without listing them all at once."""
    window, pending = 1 << 22, np.empty(0, np.int64)
    for start in range(0, len(mask), window):
        pending = np.concatenate([pending, start + np.flatnonzero(mask[start : start + window])])
        while len(pending) >= length:
            yield pending[:length]
            pending = pending[length:]
    if len(pending):
        yield pending
