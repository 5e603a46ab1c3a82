"""An object that was cut out -> a square picture with the object where the models expect it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from openlrm.cameras import DEFAULT_DISTANCE
from openlrm.errors import UserError

BORDER_RATIO = 0.18
"""Empty margin on each side of the object's longer extent, as a part of the picture's side.

The default camera (distance 2, focal length 0.75) shows an object whose longest side is 1.6, as the training renders
scale it, 1.6 * 0.75 / 2 = 0.6 of a picture long, and longer where it comes nearer than its centre. The frontal views of
the 25 rendered objects at hand, brought to that distance, fill 0.64 in the median (0.40 to 0.99): 1 - 2 * 0.18.
"""

# Opacity from which a pixel counts as the object's; less is the soft tail of an edge.
_SEEN = 0.1


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
        rgba: (H, W, 4) float32 in [0, 1]; the object is where alpha is.
        border_ratio: empty margin on each side of the longer extent over the picture's side, in [0, 0.45].
        size: side of the result in pixels.

    Returns:
        (size, size, 4) float32 in [0, 1]; transparent pixels are black.

    Raises:
        UserError: nothing to be seen, or a border ratio out of range.
    """
    if not 0 <= border_ratio <= 0.45:
        raise UserError(f"border_ratio={border_ratio} is not between 0 and 0.45")
    seen = rgba[..., 3] > _SEEN
    if not seen.any():
        raise UserError("there is no object in the picture: it is transparent")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) / (1 - 2 * border_ratio)
    corner = np.array([left + right - side, top + bottom - side]) / 2
    # Colours weigh by their alpha, or transparent pixels would bleed into the edge.
    weighted = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=2)
    margin = int(np.ceil(max(0, *-corner, *(corner + side - [rgba.shape[1], rgba.shape[0]]))))
    padded = np.pad(weighted, ((margin, margin), (margin, margin), (0, 0)))
    box = (*(corner + margin), *(corner + margin + side))
    channels = [
        Image.fromarray(np.ascontiguousarray(padded[..., c], np.float32)).resize(
            (size, size), Image.Resampling.LANCZOS, box=box
        )
        for c in range(4)
    ]
    out = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    alpha = np.clip(out[..., 3:], 0, 1)
    colour = np.where(alpha > 1e-3, out[..., :3] / np.maximum(out[..., 3:], 1e-3), 0)
    return np.concatenate([np.clip(colour, 0, 1), alpha], axis=-1)
