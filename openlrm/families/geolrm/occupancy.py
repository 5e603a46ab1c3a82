"""True occupancy of an object: the cells that its depth maps see a surface in."""

from __future__ import annotations

import io

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets.maps import read_depth, surface_points
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.datasets.storage import open_place
from openlrm.errors import UserError
from openlrm.families.geolrm.cells import cells_of_points
from openlrm.families.geolrm.units import CUBE

POINTS = "pts.npy"
_MOST_BYTES = 64 << 20


def occupied_cells(source: ObjaverseObject, grid: int, voxels: str) -> np.ndarray:
    """Cells (N, 3) that the depth maps of all views see a surface in; a shell, not a solid.

    Args:
        source: the object, in the scene's cube [-1, 1]^3.
        grid: cells a side.
        voxels: see `cells_of_points`.

    Raises:
        UserError: a depth map that is not there or not usable, or none that shows anything.
    """
    found = []
    for view in range(len(source)):
        camera = Camera(source.read_pose(view), source.intrinsics)
        found.append(cells_of_points(surface_points(read_depth(source, view), camera) * CUBE, grid, voxels))
    cells = np.unique(np.concatenate(found), axis=0)
    if not len(cells):
        raise UserError("the depth maps show nothing", source.folder / "depth")
    return cells


def read_cells(root: str, uid: str, grid: int) -> np.ndarray:
    """Read what `prepare.occupancy` wrote: (N, 3) int64.

    Raises:
        UserError: missing, damaged, or cells beyond the grid.
    """
    file = open_place(root) / uid / POINTS
    hint = "python -m openlrm.launch prepare.occupancy writes it"
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError("no occupancy", file, hint) from None
    except OSError as error:
        raise UserError(f"cannot read the occupancy ({error.strerror or error})", file) from error
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too large")
        cells = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        # A damaged header makes numpy raise nearly anything.
        raise UserError(f"not a usable .npy file ({error})", file, hint) from error
    if cells.ndim != 2 or cells.shape[1] != 3 or cells.dtype.kind not in "ui" or not len(cells):
        raise UserError(f"the occupancy is {cells.dtype} {cells.shape}, not whole numbers (N, 3)", file, hint)
    cells = cells.astype(np.int64)
    if cells.min() < 0 or cells.max() >= grid:
        raise UserError(f"the occupancy has cells beyond 0 to {grid - 1}", file, "it was made for another grid")
    return cells


def pack_cells(cells: np.ndarray, grid: int) -> np.ndarray:
    """Cells (N, 3) as bits of (G, G, G), x first: uint8 (ceil(G^3 / 8),)."""
    dense = np.zeros((grid,) * 3, bool)
    dense[tuple(cells.T)] = True
    return np.packbits(dense.reshape(-1))


def unpack_cells(bits: np.ndarray, grid: int) -> np.ndarray:
    """(B, bytes) of `pack_cells` -> (B, G, G, G) bool."""
    flat = np.unpackbits(bits, axis=1, count=grid**3)
    return flat.reshape(-1, grid, grid, grid).astype(bool)
