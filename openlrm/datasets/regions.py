"""A region of a resized view, computed from the pixels it depends on alone.

The spec puts a view on its background, resizes all of it and cuts a region out. Both steps are linear and the
weights of the resize sum to 1, so colour times alpha and alpha can be resized by themselves, only where wanted:

    resize(rgb * a + b * (1 - a)) = resize(rgb * a) + b * (1 - resize(a))
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache

import numpy as np

from openlrm.utils.images import cubic_taps

_EMPTY = np.empty(0, np.float32)
_local = threading.local()


def resize_region(planes: np.ndarray, size: int, anchor: tuple[int, int], region: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour times alpha, and alpha, in a square region of a resized view.

    Equal, but for rounding, to `resize_bicubic` of the whole premultiplied view and a crop of it.

    Args:
        planes: (4, H, W) uint8, straight alpha.
        size: side in pixels that the whole view is resized to.
        anchor: row and column of the region's upper left pixel.
        region: side in pixels of the region.

    Returns:
        (3, region, region) and (1, region, region) float32; the cubic overshoots [0, 1] a little.
    """
    rows, row_taps, row_weights = _taps(planes.shape[1], size, int(anchor[0]), region)
    columns, column_taps, column_weights = _taps(planes.shape[2], size, int(anchor[1]), region)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    shapes = [(4, height, width), (4, region, width), (4, region, width), (4, width, region), (4, region, region)]
    part, mixed, taken, turned, taken_last = _scratch(shapes)
    np.multiply(planes[:, rows, columns], np.float32(1 / 255), out=part)
    part[:3] *= part[3]
    _mix_rows(part, row_taps, row_weights, mixed, taken)
    # Rows again: gathering columns would copy pixel by pixel.
    np.copyto(turned, mixed.swapaxes(1, 2))
    resized = _mix_rows(turned, column_taps, column_weights, np.empty((4, region, region), np.float32), taken_last)
    resized = resized.swapaxes(1, 2)
    return resized[:3], resized[3:]


def composite(colour: np.ndarray, alpha: np.ndarray, background: float) -> np.ndarray:
    """Put premultiplied colour on a background, clipped to [0, 1].

    Args:
        colour: (3, R, R) colour times alpha.
        alpha: (1, R, R).
        background: grey level in [0, 1].

    Returns:
        (3, R, R) float32.
    """
    image = colour + np.float32(background) * (1 - alpha)
    return np.clip(image, 0, 1, out=image)


def whole_view(planes: np.ndarray, size: int, background: float) -> np.ndarray:
    """A whole view on a background: (3, size, size) float32 in [0, 1] from (4, H, W) uint8."""
    return composite(*resize_region(planes, size, (0, 0), size), background)


@lru_cache(maxsize=4096)
def _taps(inputs: int, outputs: int, first: int, count: int) -> tuple[slice, np.ndarray, np.ndarray]:
    """Return the span of lines that matter, and (4, count) of lines in it and of their weights."""
    indices, weights = cubic_taps(inputs, outputs, first, count)
    start = int(indices.min())
    span = slice(start, int(indices.max()) + 1)
    return span, np.ascontiguousarray((indices - start).T), np.ascontiguousarray(weights.T.astype(np.float32))


def _mix_rows(planes: np.ndarray, taps: np.ndarray, weights: np.ndarray, out: np.ndarray, taken: np.ndarray):
    # A mode other than "raise" lets numpy write straight into `out`; the taps are within bounds.
    np.take(planes, taps[0], axis=1, out=out, mode="clip")
    out *= weights[0, :, None]
    for lines, weight in zip(taps[1:], weights[1:], strict=True):
        np.take(planes, lines, axis=1, out=taken, mode="clip")
        taken *= weight[:, None]
        out += taken
    return out


def _scratch(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Return float32 arrays that the next call will overwrite.

    Fresh ones would be given back to the system after every view, and taking pages anew costs as much as the
    arithmetic.
    """
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    if getattr(_local, "buffer", _EMPTY).size < ends[-1]:
        _local.buffer = np.empty(ends[-1], np.float32)
    parts = np.split(_local.buffer[: ends[-1]], ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
