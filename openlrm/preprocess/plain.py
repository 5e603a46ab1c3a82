"""Cut an object out of a picture whose background has one colour, or one even gradient.

Notation: b(x, y) is the background's colour, an affine function of the pixel's place fitted to the picture's border;
the distance of a pixel is the largest difference of its channels from b.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from openlrm.errors import UserError
from openlrm.preprocess.parts import areas_of, without_specks

# A border pixel nearer to the fit belongs to the background whatever the noise; 8 bits of a JPEG stay below it.
_FLOOR = 0.04
# More spread than this and the background is not plain: wood, grass, a room.
_CEILING = 0.12
# Part of the border that has to be background; an object may be cut by the picture's edge.
_PLAIN_PART = 0.7
# An enclosed area of fewer pixels, or whose nearest quarter is farther from it than the border by so much, is no hole.
_HOLE, _SAME = 16, 0.012
# Pixels on each side of the outline whose colour is thought of as mixed.
_EDGE = 2
# Rows and columns that are worked on at a time, and pixels around them that can matter: memory stays small.
_TILE, _AROUND = (64, 512), 16


def remove_plain_background(rgb: np.ndarray) -> np.ndarray:
    """Make a plain background transparent.

    What has the background's colour and is connected to the border goes, and so do holes, enclosed areas that have it
    exactly. Alpha is soft along the outline: a mixed pixel is taken apart into the background's colour and the nearest
    inner one. A shadow stays with the object; a part of it in the background's colour goes if it is at its outline.

    Args:
        rgb: (H, W, 3) float32 in [0, 1].

    Returns:
        (H, W, 4) float32 in [0, 1]; colours of mixed pixels are those of the object alone.

    Raises:
        UserError: the border is not plain, or nothing stands out from it.
    """
    fit, tolerance, typical = _fit(rgb)
    distance = np.empty(rgb.shape[:2], np.float32)
    for rows, columns in _tiles(*distance.shape):
        distance[rows, columns] = np.abs(rgb[rows, columns] - _background(fit, rgb.shape, rows, columns)).max(axis=2)
    inside = without_specks(~_outside(distance, tolerance, typical))
    del distance
    if not inside.any():
        raise UserError(
            "no object stands out from the plain background", hint="give a picture in which it has another colour"
        )
    out = np.empty((*inside.shape, 4), np.float32)
    for rows, columns in _tiles(*inside.shape):
        wider = tuple(slice(max(0, at.start - _AROUND), at.stop + _AROUND) for at in (rows, columns))
        own = tuple(
            slice(at.start - wide.start, at.stop - wide.start) for at, wide in zip((rows, columns), wider, strict=True)
        )
        tile = _soften(rgb[wider], _background(fit, rgb.shape, *wider), inside[wider], tolerance)
        out[rows, columns] = tile[own]
    return out


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    rows, columns = _TILE
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def _places(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What the colour is an affine function of, (..., 3), at some rows and columns."""
    ones = np.ones(np.broadcast_shapes(rows.shape, columns.shape))
    return np.stack([ones, ones * rows / shape[0] - 0.5, ones * columns / shape[1] - 0.5], axis=-1)


def _background(fit: np.ndarray, shape: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
    """Colours (h, w, 3) of the background in a part of a picture."""
    at = (np.arange(part.start, min(part.stop, n)) for part, n in zip((rows, columns), shape[:2], strict=True))
    return np.clip(_places(*np.ix_(*at), shape) @ fit, 0, 1).astype(np.float32)


def _fit(rgb: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the background's coefficients (3, 3), the distance up to which a pixel is part of it, and the median."""
    border = _border(rgb.shape[:2])
    at, colour = _places(*np.nonzero(border), rgb.shape), rgb[border].astype(np.float64)
    # The largest group of like colours first, then the gradient through all that is near it.
    centre = _commonest(colour)
    near = np.abs(colour - centre).max(axis=1) < _CEILING
    fit = np.linalg.lstsq(at[near], colour[near], rcond=None)[0]
    for _ in range(3):
        away = np.abs(colour - at @ fit).max(axis=1)
        near = away < max(_FLOOR, min(_CEILING, 3 * float(np.median(away))))
        if near.mean() < _PLAIN_PART:
            raise UserError(
                f"the background is not plain: {near.mean():.0%} of the picture's border has one colour",
                hint="give a picture with a transparent or plain background, or install rembg and its model",
            )
        fit = np.linalg.lstsq(at[near], colour[near], rcond=None)[0]
    away = np.abs(colour - at @ fit).max(axis=1)[near]
    tolerance = float(np.clip(1.5 * np.quantile(away, 0.99), _FLOOR, _CEILING))
    return fit, tolerance, float(np.median(away))


def _outside(distance: np.ndarray, tolerance: float, typical: float) -> np.ndarray:
    """Mark the background in the distances (H, W) from its colour."""
    from scipy import ndimage

    labels, count = ndimage.label(distance < tolerance)
    goes = np.zeros(count + 1, bool)
    goes[labels[_border(labels.shape)]] = True
    large = areas_of(labels, count) >= _HOLE
    places = ndimage.find_objects(labels)
    for label in np.flatnonzero(large[1:] & ~goes[1:]) + 1:
        place = places[label - 1]
        values = distance[place][labels[place] == label]
        goes[label] = np.quantile(values, 0.25) < typical + _SAME
    goes[0] = False
    return goes[labels]


def _border(shape: tuple[int, int]) -> np.ndarray:
    """Mark the outermost pixels (H, W): two deep, so that a frame of one odd line is not all there is."""
    deep = np.zeros(shape, bool)
    deep[:2] = deep[-2:] = deep[:, :2] = deep[:, -2:] = True
    return deep


def _commonest(colours: np.ndarray) -> np.ndarray:
    """Median of the colours in and around the fullest cell of a 16^3 histogram."""
    cell = np.minimum((colours * 16).astype(int), 15)
    codes, counts = np.unique(cell @ [256, 16, 1], return_counts=True)
    fullest = codes[counts.argmax()]
    centre = np.array([fullest // 256, fullest // 16 % 16, fullest % 16])
    return np.median(colours[(np.abs(cell - centre) <= 1).all(axis=1)], axis=0)


def _soften(rgb: np.ndarray, background: np.ndarray, inside: np.ndarray, tolerance: float) -> np.ndarray:
    """Alpha and colours from the hard mask; what is farther away than `_AROUND` pixels makes no difference."""
    from scipy import ndimage

    if inside.all() or not inside.any():
        return np.concatenate([rgb, inside[..., None]], axis=2, dtype=np.float32)
    depth = ndimage.distance_transform_edt(inside)
    sure = depth > _EDGE
    mixed = (ndimage.distance_transform_edt(~inside) <= _EDGE) | (inside & ~sure)
    # A thin part has no inner pixels: those farthest from its outline stand for them.
    ridge = inside & (depth >= ndimage.maximum_filter(depth, 2 * _EDGE + 1))
    far, (row, column) = ndimage.distance_transform_edt(~(sure | ridge), return_indices=True)
    mixed &= far <= 3 * _EDGE
    colour = rgb[row, column]
    span = colour - background
    strength = (span**2).sum(axis=2)
    share = ((rgb - background) * span).sum(axis=2) / np.maximum(strength, 1e-6)
    # An inner colour that is nearly the background's says nothing about the mixture.
    told = mixed & (strength > tolerance**2)
    alpha = np.where(told, np.clip(share, 0, 1), inside).astype(np.float32)
    # Noise of the background must not leave a veil.
    alpha[(alpha < 0.03) & ~inside] = 0
    rgb = np.where((told & (alpha < 1))[..., None], colour, rgb)
    return np.concatenate([rgb, alpha[..., None]], axis=2).astype(np.float32)
