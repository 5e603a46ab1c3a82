"""Arrays of a transformer's fused layers: panels of 64 columns, (K / 64, P, 64) for P rows of K numbers.

P is a multiple of 64; `openlrm.ops.host.panels` says why they lie so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openlrm.ops.host.arrays import aligned_array, check_array
from openlrm.ops.host.sizes import WIDTH
from openlrm.utils.threads import host_threads, spread_ranges

_MOST_ROWS = 256
"""Rows of a task: those of 512 numbers, half a megabyte, stay in the L2 cache."""
NO_BIAS = np.empty(0, np.float32)


def panels(width: int, rows: int) -> np.ndarray:
    """(width / 64, P, 64), not set, for at least so many rows."""
    room = -(-rows // WIDTH) * WIDTH
    return aligned_array(width * room).reshape(width // WIDTH, room, WIDTH)


def to_panels(x: np.ndarray) -> np.ndarray:
    """(L, K) -> (K / 64, P, 64), the rows beyond L zero."""
    length, width = x.shape
    out = panels(width, length)
    out[:, :length] = x.reshape(length, -1, WIDTH).transpose(1, 0, 2)
    out[:, length:] = 0
    return out


def to_rows(x: np.ndarray, length: int) -> np.ndarray:
    """(K / 64, P, 64) -> (L, K)."""
    return x[:, :length].transpose(1, 0, 2).reshape(length, -1)


def pack_tiles(matrix: np.ndarray) -> np.ndarray:
    """Tiles of a matrix (K, N), flat, as the compiled products take them."""
    from openlrm.ops.host.linear import pack

    check_array(matrix, "a matrix to pack", (None, None), contiguous=False)
    if matrix.shape[0] % WIDTH or matrix.shape[1] % WIDTH:
        raise ValueError(f"a matrix to pack has shape {matrix.shape}, expected multiples of {WIDTH}")
    tiles = aligned_array(matrix.size)
    spread_ranges(lambda first, last: pack(matrix, first, last, tiles), matrix.shape[1], WIDTH)
    return tiles


def check_panels(x: np.ndarray, name: str) -> None:
    """Refuse what are not panels (K / 64, P, 64) of a multiple of 64 rows.

    Raises:
        TypeError: not float32, or not C-contiguous.
        ValueError: another shape.
    """
    check_array(x, name, (None, None, WIDTH))
    if x.shape[1] % WIDTH:
        raise ValueError(f"{name} has {x.shape[1]} rows, expected a multiple of {WIDTH}")


def over_rows(work: Callable[[int, int], None], x: np.ndarray) -> None:
    """Call work(first, last) over the rows of panels, multiples of 64, some tasks for each thread."""
    rows = x.shape[1]
    step = min(_MOST_ROWS, rows // (4 * host_threads()) // WIDTH * WIDTH)
    spread_ranges(work, rows, max(step, WIDTH))
