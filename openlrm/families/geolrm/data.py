"""Training items of a GeoLRM: views apart from each other, depth, and which cells are occupied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets import Item, TrainItems
from openlrm.datasets.maps import DEPTH, has_map, read_depth, regions_of
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.errors import UserError
from openlrm.families.geolrm.occupancy import occupied_cells, pack_cells, read_cells
from openlrm.families.geolrm.options import GeoLRMDataConfig


@dataclass(frozen=True)
class GeoItem(Item):
    """An `Item` whose source views are all its views, those to be given first.

    Depths are along the viewing axis, in the scene's units.

    Attributes:
        occupancy: cells as bits, see `openlrm.families.geolrm.occupancy.pack_cells`; None where nobody asks.
    """

    occupancy: np.ndarray | None = None


class GeoItems(TrainItems):
    """`TrainItems` of GeoLRM.

    Args:
        config: see `GeoLRMDataConfig`.
        seed: of every draw.
        grid: cells a side.
        voxels: see `openlrm.families.geolrm.cells.cells_of_points`.
        cells: whether items carry the true occupancy.
        depth: whether items carry depth.
        uids: these objects alone.
    """

    def __init__(
        self,
        config: GeoLRMDataConfig,
        seed: int,
        grid: int,
        voxels: str,
        cells: bool,
        depth: bool,
        uids: Sequence[str] | None = None,
    ) -> None:
        super().__init__(config, seed, uids, sources=config.sample_side_views + 1)
        self.grid, self.voxels, self.cells, self.depth = grid, voxels, cells, depth
        self._bits: dict[int, np.ndarray] = {}

    def _draw_views(self, source: ObjaverseObject, rng: np.random.Generator) -> np.ndarray:
        """Drawn views, each of the first half in the direction farthest from those before it."""
        drawn = super()._draw_views(source, rng)
        allowed = self.config.source_views or np.setdiff1d(np.arange(len(source)), self.config.held_out_views)
        centers = np.stack([source.read_pose(int(view))[:, 3] for view in allowed])
        directions = centers / np.linalg.norm(centers, axis=1, keepdims=True)
        spread = [int(drawn[0])]
        nearest = directions @ directions[list(allowed).index(spread[0])]
        while len(spread) < min((len(drawn) + 1) // 2, len(allowed)):
            nearest[np.isin(allowed, spread)] = np.inf
            spread.append(int(allowed[int(np.argmin(nearest))]))
            nearest = np.maximum(nearest, directions @ directions[list(allowed).index(spread[-1])])
        rest = [int(view) for view in drawn if view not in spread]
        return np.array((spread + rest)[: len(drawn)])

    def _completed(self, item: Item, number: int, source: ObjaverseObject, views: np.ndarray) -> GeoItem:
        made = GeoItem(**vars(item))
        if self.cells:
            made = replace(made, occupancy=self._occupancy(number, source))
        return replace(made, depths=self._depths(source, views, item)) if self.depth else made

    def _occupancy(self, number: int, source: ObjaverseObject) -> np.ndarray:
        if number not in self._bits:
            cells = true_cells(source, self.config.occupancy, self.grid, self.voxels)
            self._bits[number] = pack_cells(cells, self.grid)
        return self._bits[number]

    def _depths(self, source: ObjaverseObject, views: np.ndarray, item: Item) -> np.ndarray | None:
        """(M, 1, R, R) of the regions; None for an object without maps."""
        if not has_map(source, DEPTH):
            return None
        return regions_of(item, views, lambda view: read_depth(source, view))


def true_cells(source: ObjaverseObject, root: str | None, grid: int, voxels: str) -> np.ndarray:
    """Cells (N, 3) that an object's surface is in.

    Args:
        source: the object.
        root: folder of `prepare.occupancy`; from the depth maps without it.
        grid: cells a side.
        voxels: see `openlrm.families.geolrm.cells.cells_of_points`.

    Raises:
        UserError: neither is there, or not usable.
    """
    if root is not None:
        return read_cells(root, source.uid, grid)
    if not has_map(source, DEPTH):
        hint = (
            "render.objaverse maps=[depth] makes depth maps, data.occupancy=DIR names the output of prepare.occupancy"
        )
        raise UserError("no occupancy and no depth maps", source.folder, hint)
    return occupied_cells(source, grid, voxels)


def region_cameras(cameras: Camera, anchors: np.ndarray, sizes: np.ndarray, region: int) -> Camera:
    """Cameras of the regions of pictures: their lenses over the region's sides."""
    scale = (np.asarray(sizes, np.float32) / region)[..., None]
    lens = cameras.intrinsics * scale
    lens[..., 2] -= anchors[..., 1] / region
    lens[..., 3] -= anchors[..., 0] / region
    return Camera(cameras.c2w, lens)
