"""Which parts of a picture are the object: told from specks, a veil, and an alpha channel that says nothing."""

from __future__ import annotations

import numpy as np

# Parts smaller than this part of the largest one are specks of noise.
_SPECK = 1e-3
# Opacity from which a pixel counts as the object's; less is the soft tail of an edge.
_SEEN = 0.1
# A part that nowhere reaches this share of the greatest opacity is too faint to be one.
_SOLID = 0.25
# Pixels around what is solid that may be the soft edge of it.
_EDGE = 3
# Below this an alpha channel is clear but for rounding.
_CLEAR = 0.02
# Share of the middle of the border that is clear where an object was cut out: nearly one of four sides.
_CUT_OUT = 0.2


def without_specks(mask: np.ndarray) -> np.ndarray:
    """Take the small parts out of a mask (H, W): connected, over corners too, and below a thousandth of the largest."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    areas = areas_of(labels, count)[1:]
    keep = np.concatenate([[False], areas >= max(4, _SPECK * areas.max())])
    return keep[labels]


def areas_of(labels: np.ndarray, count: int) -> np.ndarray:
    """Pixels of every label 0 .. count; `bincount` makes its input 64 bits wide, so it gets a little at a time."""
    areas = np.zeros(count + 1, np.int64)
    flat = labels.reshape(-1)
    for start in range(0, flat.size, 1 << 20):
        areas += np.bincount(flat[start : start + (1 << 20)], minlength=count + 1)
    return areas


def came_cut_out(alpha: np.ndarray) -> bool:
    """Tell whether an alpha channel shows an object by itself, by what the picture's border looks like.

    Round corners of a screenshot, clear bars beside a photograph, or one opacity everywhere are no cutting out: what
    counts is the middle half of each side. An object may reach three of them.

    Args:
        alpha: (H, W) in [0, 1].
    """
    seen = alpha >= 0.5 * alpha.max()
    rows, columns = _extent(seen)
    # Bars: a picture that is as wide, or as high, as what it stands in ends where they begin.
    if columns == slice(0, alpha.shape[1]):
        seen = seen[rows]
    elif rows == slice(0, alpha.shape[0]):
        seen = seen[:, columns]
    height, width = seen.shape
    across, down = (slice(side // 4, side - side // 4) for side in (width, height))
    middle = np.concatenate([seen[0, across], seen[-1, across], seen[down, 0], seen[down, -1]])
    return bool(1 - middle.mean() >= _CUT_OUT)


def isolate(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the object in an alpha channel.

    Args:
        alpha: (H, W) float32 in [0, 1].

    Returns:
        The channel without specks and without a veil over all of the picture, and the mask (H, W) of what the object
        is framed by: faint parts that are farther from solid ones than a soft edge do not count.
    """
    from scipy import ndimage

    top = float(alpha.max())
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    veil = float(np.median(border))
    # An object that fills the border is no veil.
    veil = veil if veil < 0.5 * top else 0.0
    solid = alpha > veil + _SOLID * (top - veil)
    kept = without_specks(solid)
    solid = kept if kept.any() else solid
    near = ndimage.binary_dilation(solid, np.ones((3, 3), bool), _EDGE)
    labels, count = ndimage.label(alpha > veil + _SEEN, np.ones((3, 3)))
    belongs = np.zeros(count + 1, bool)
    belongs[labels[solid]] = True
    belongs[0] = False
    whole = belongs[labels]
    gone = (labels > 0) & ~whole & ~near
    if veil > _CLEAR:
        gone |= labels == 0
    return np.where(gone, np.float32(0), alpha), whole & near | solid


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns from the first to the last that hold something of a mask which holds something."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def object_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what a mask (H, W) holds; it must hold something."""
    rows, columns = _extent(mask)
    return rows.start, rows.stop, columns.start, columns.stop
