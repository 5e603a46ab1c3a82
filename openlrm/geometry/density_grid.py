"""The density of a field on a regular grid, evaluated only where its surface can be.

Notation: the grid has size^3 points over [-1, 1]^3. Nodes are every stride-th of them, a power of two; blocks are the
cubes between neighbouring nodes. A block is open when the field may cross the threshold inside it, judged by the
nodes around it. Open blocks are halved along each axis, judged again by the points between, and so on down to blocks
of two cells, which are evaluated at every point. Then the surface is followed: where it crosses a face of an open
block, the block behind is opened too. So a part of the surface is missed only if all of it hides between nodes, and
what is found is what evaluating every point finds. The cost grows with the surface, but for the nodes, which are about
as many whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.progress import Progress
from openlrm.utils.threads import host_threads, spread

Field = Callable[[np.ndarray], np.ndarray]

# Two thirds of a texel of a 64 x 64 plane: a trained field has little detail finer than a texel.
NODE_SPACING = 0.021
# A block's field is thought to reach beyond the values at the nodes around it by this part of their range.
MARGIN = 0.5
# A half of a block's field reaches beyond its corners by this part of the range around it.
HALF_MARGIN = 0.25
# Densities below it are all called empty; it bounds the logarithm.
DENSITY_FLOOR = 1e-6
# A brick's side: blocks must not be larger.
_LARGEST_STRIDE = 8
# Blocks whose points are listed at once: at most half a million.
_BLOCKS = 1 << 14


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
    """Density on size^3 points; it counts as zero around them.

    Attributes:
        axis: (size,) float32 coordinates, -1 to 1 inclusive.
        stride: of the nodes; 1 where they are too far apart to leave anything out.
        table: (B, B, B) int32 and
        bricks: (bricks, 512) float32, the densities, see `openlrm.geometry.grid_kernels`.
        blocks: (N, 3) int32, sorted: the open blocks of two cells a side, which hold the surface.
        lowest: smallest density that was evaluated.
        highest: largest density that was evaluated.
        peak: largest density among points that are evaluated whatever the threshold.
    """

    def __init__(self, size: int) -> None:
        from openlrm.geometry import grid_kernels

        self._kernels = grid_kernels
        self.axis = np.linspace(-1, 1, size).astype(np.float32)
        self.lowest, self.highest, self.peak = np.inf, -np.inf, -np.inf
        spacing = max(1, int(NODE_SPACING * (size - 1) / 2))
        self.stride = min(1 << (spacing.bit_length() - 1), _LARGEST_STRIDE)
        brick, offset = grid_kernels.BRICK, grid_kernels.OFFSET
        self.table = np.full(((size + 2 * offset) // brick + 1,) * 3, -1, np.int32)
        self.bricks = np.empty((0, brick**3), np.float32)
        self.blocks = np.empty((0, 3), np.int32)
        # By half the place in its brick: blocks begin at even points.
        self._opened = np.zeros((0, brick**3 // 2), bool)
        self._used = 0

    def fill(self, density: Field, threshold: float, query: FieldQuery, dense: bool = False) -> None:
        """Evaluate the density wherever its surface at `threshold` can be.

        Args:
            density: (P, 3) float32 -> (P,), at least 0.
            threshold: of the surface.
            query: asks, checks and counts.
            dense: evaluate every point, as it is done anyway on small grids.

        Raises:
            UserError: a density that is not finite.
        """
        size, kernels = len(self.axis), self._kernels
        if dense or self.stride == 1:
            every = np.ones((-(-size // 2) + 1,) * 3, bool)
            self.blocks = self._bases(every, 2)
            self._evaluate(density, self.blocks, 2, query)
            self.peak = self.highest
            return
        stride = self.stride
        blocks = self._bases(_may_cross(self._nodes(density, query), threshold), stride)
        while stride > 2:
            self._evaluate(density, blocks, stride, query)
            limits = threshold, HALF_MARGIN, DENSITY_FLOOR
            blocks = _listed(kernels.divide, blocks, 8, stride, size, self.table, self.bricks, *limits)
            stride //= 2
        found = []
        while len(blocks := self._open(blocks)):
            self._evaluate(density, blocks, 2, query)
            found.append(blocks)
            blocks = _listed(kernels.find_exits, blocks, 6, size, self.table, self.bricks, threshold)
        if found:
            blocks = np.concatenate(found)
            self.blocks = blocks[np.lexsort(blocks.T[::-1])]

    def _nodes(self, density: Field, query: FieldQuery) -> np.ndarray:
        """Density at the nodes, with NaN at those outside the grid."""
        last = len(self.axis) - 1
        # The last point stands for the node that is the first beyond it.
        index = np.unique(np.append(np.arange(0, last, self.stride), last))
        inside = np.empty((len(index),) * 3, np.float32)
        query.total += inside.size
        for start in range(0, inside.size, query.chunk):
            flat = np.arange(start, min(start + query.chunk, inside.size))
            points = np.stack([self.axis[index[i]] for i in np.unravel_index(flat, inside.shape)], axis=-1)
            inside.reshape(-1)[flat] = self._ask(density, points, query)
        self.peak = float(inside.max())
        return np.pad(inside, (1, 0 if last % self.stride else 1), constant_values=np.nan)

    def _bases(self, marked: np.ndarray, stride: int) -> np.ndarray:
        """Bases of marked blocks, the first of which begins a stride before the grid."""
        return (np.argwhere(marked) * stride + (self._kernels.OFFSET - stride)).astype(np.int32)

    def _evaluate(self, density: Field, blocks: np.ndarray, stride: int, query: FieldQuery) -> None:
        """Evaluate the points of blocks that are half a stride apart, as far as they are not known."""
        self._make_room(blocks, stride)
        waiting = np.empty((0, 3), np.int32)
        for start in range(0, len(blocks), _BLOCKS):
            part = blocks[start : start + _BLOCKS]
            points = np.empty((27 * len(part), 3), np.int32)
            count = self._kernels.list_unknown(part, stride, len(self.axis), self.table, self.bricks, points)
            query.total += count
            waiting = np.concatenate([waiting, points[:count]])
            # Whole chunks, as long as there are any: a device compiles for one length.
            ready = len(waiting) if start + _BLOCKS >= len(blocks) else len(waiting) // query.chunk * query.chunk
            for first in range(0, ready, query.chunk):
                asked = waiting[first : min(first + query.chunk, ready)]
                found = self._ask(density, self.axis[asked - self._kernels.OFFSET], query)
                self._kernels.store(asked, found, self.table, self.bricks)
            waiting = waiting[ready:]

    def _ask(self, density: Field, points: np.ndarray, query: FieldQuery) -> np.ndarray:
        found = query.ask(density, points, "density").reshape(-1)
        self.lowest = min(self.lowest, float(found.min()))
        self.highest = max(self.highest, float(found.max()))
        return found

    def _open(self, blocks: np.ndarray) -> np.ndarray:
        """Those blocks of two cells that are not open yet, once each; they are from now on."""
        self._make_room(blocks, 2)
        fresh = np.empty_like(blocks)
        return fresh[: self._kernels.open_blocks(blocks, self.table, self._opened, fresh)]

    def _make_room(self, blocks: np.ndarray, stride: int) -> None:
        """Make the bricks that blocks have points in."""
        self._used = self._kernels.number_bricks(blocks, stride, self.table, self._used)
        missing = self._used - len(self.bricks)
        if missing > 0:
            missing = max(missing, len(self.bricks) // 4)
            self.bricks = np.concatenate([self.bricks, np.full((missing, self.bricks.shape[1]), np.nan, np.float32)])
            self._opened = np.concatenate([self._opened, np.zeros((missing, self._opened.shape[1]), bool)])


def _listed(kernel: Callable, blocks: np.ndarray, most: int, *options) -> np.ndarray:
    """What kernel(blocks, *options, out) lists, at most so many for each block, in their order; on all cores."""
    parts = np.array_split(blocks, 4 * host_threads())
    found = [np.empty((most * len(part), 3), np.int32) for part in parts]

    def work(index: int) -> None:
        found[index] = found[index][: kernel(parts[index], *options, found[index])]

    spread(work, len(parts))
    return np.concatenate(found)


def _may_cross(coarse: np.ndarray, threshold: float) -> np.ndarray:
    """Mark the blocks, from (n,)^3 node values, whose field may lie on both sides of the threshold.

    The outermost blocks stick out of the grid, where there is no density. Nodes there are NaN.
    """
    # The field is smooth in raw density; after softplus it is flat where empty and hides what rises beside
    # it.
    raw, level = _inverse_softplus(coarse), _inverse_softplus(np.float32(threshold))
    low, high = _neighbours(raw, np.fmin), _neighbours(raw, np.fmax)
    margin = MARGIN * (high - low)
    low -= margin
    for axis in range(3):
        np.moveaxis(low, axis, 0)[[0, -1]] = -np.inf
    return (high + margin >= level) & (low <= level)


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
