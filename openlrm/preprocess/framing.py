"""An object that was cut out -> a square picture with the object where the models expect it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openlrm.cameras import DEFAULT_DISTANCE
from openlrm.errors import UserError
from openlrm.preprocess.parts import isolate, object_box
from openlrm.utils.decoding import resample

BORDER_RATIO = 0.18
"""Empty margin on each side of the object's longer extent, as a part of the picture's side.

The default camera (distance 2, focal length 0.75) shows an object whose longest side is 1.6, as the training renders
scale it, 1.6 * 0.75 / 2 = 0.6 of a picture long, and longer where it comes nearer than its centre. The frontal views of
the 25 rendered objects at hand, brought to that distance, fill 0.64 in the median (0.40 to 0.99): 1 - 2 * 0.18.
"""

# Opacity of the least that can be called visible.
_SEEN = 0.1
# Reach of the Lanczos kernel, in pixels of the coarser of two pictures.
_REACH = 3


def border_ratio_at(distance: float) -> float:
    """Margin that shows an object of the training's size, told that the camera stood at this distance.

    Args:
        distance: of the source camera, world units; `BORDER_RATIO` belongs to 2.0, and an object seen from twice as far
            is half as long.

    Returns:
        A border ratio in [0, 0.45].
    """
    return min(max(0.5 - (0.5 - BORDER_RATIO) * DEFAULT_DISTANCE / distance, 0.0), 0.45)


def recentre(rgba: np.ndarray, border_ratio: float = BORDER_RATIO, size: int = 512) -> np.ndarray:
    """Centre an object in a square and scale it so that its longer side leaves the given margins.

    Args:
        rgba: (H, W, 4) float32 in [0, 1]; the object is where alpha is. Specks, and a veil over everything, do not
            count and are left out.
        border_ratio: empty margin on each side of the longer extent over the picture's side, in [0, 0.45].
        size: side of the result in pixels.

    Returns:
        (size, size, 4) float32 in [0, 1]; transparent pixels are black.

    Raises:
        UserError: nothing to be seen, or a border ratio out of range.
    """
    if not 0 <= border_ratio <= 0.45:
        raise UserError(f"border_ratio={border_ratio} is not between 0 and 0.45")
    if not (rgba[..., 3] > _SEEN).any():
        raise UserError("there is no object in the picture: it is transparent")
    alpha, seen = isolate(rgba[..., 3])
    top, bottom, left, right = object_box(seen)
    side = max(bottom - top, right - left) / (1 - 2 * border_ratio)
    corner = (left + right - side) / 2, (top + bottom - side) / 2
    # As if the picture went on, transparent, as far as the square reaches; only what can be seen of that is made.
    excess = (*(-at for at in corner), *(at + side - n for at, n in zip(corner, seen.shape[::-1], strict=True)))
    margin = int(np.ceil(max(0, *excess)))
    across, down = (_span(at, side, size, n, margin) for at, n in zip(corner, seen.shape[::-1], strict=True))
    out = np.zeros((size, size, 4), np.float32)
    out[down.begin : down.end, across.begin : across.end] = resample(
        rgba[..., :3],
        alpha,
        (across.end - across.begin, down.end - down.begin),
        (across.start, down.start, across.stop, down.stop),
        (down.low, down.high, across.low, across.high),
    )
    return out


class _Span(NamedTuple):
    """One axis of a resize: pixels begin .. end of the result come from start .. stop, and need low .. high."""

    begin: int
    end: int
    start: float
    stop: float
    low: int
    high: int


def _span(corner: float, side: float, size: int, length: int, margin: int) -> _Span:
    step = side / size
    reach = (_REACH + 1) * max(step, 1)
    begin, end = max(0, int((-reach - corner) // step)), min(size, int((length + reach - corner) // step) + 1)
    start, stop = corner + begin * step, corner + end * step
    low, high = max(-margin, int((start - reach) // 1)), min(length + margin, int((stop + reach) // 1) + 1)
    return _Span(begin, end, start, stop, low, high)
