"""Tiles of Gaussians composited front to back, and walked again from the back for the gradient.

A tile of 16 x 16 pixels is four blocks of 8 x 8: 64 numbers, a whole number of vector registers, so that the loops
over a block's pixels have no branch and no remainder. A block's state lies in one array, field after field.
"""

import numpy as np
from numba import njit

from openlrm.ops.host.functions import DIVIDES, f32, power_of_two
from openlrm.ops.host.splatting_project import (
    ALPHA,
    BLUE,
    BOTTOM,
    DBLUE,
    DDEPTH,
    DEPTH,
    DGREEN,
    DRED,
    DX,
    DXX,
    DXY,
    DY,
    DYY,
    GREEN,
    LEAST,
    LEFT,
    OPACITY,
    RED,
    RIGHT,
    SUMS,
    TOP,
    XX,
    XY,
    YY,
    X,
    Y,
)
from openlrm.ops.host.splatting_sort import TILE, list_columns
from openlrm.utils.compiled import compiled

_SIDE = 8
_PIXELS = _SIDE * _SIDE
_BLOCKS = (TILE // _SIDE) ** 2

# Fields of a block: centres of its pixels, then forward what is seen so far ...
_COLUMN, _ROW, _THROUGH, _LIVE, _RED, _GREEN, _BLUE, _DEPTH, _LAST = range(9)
# ... and backward the gradients of what was seen, and what lies behind.
_OF_RED, _OF_GREEN, _OF_BLUE, _OF_DEPTH, _BEHIND = 3, 4, 5, 6, 7
_FIELDS = 9

_MOST = f32(0.99)
"""Opacity of a Gaussian in a pixel is cut off here."""
_OPAQUE = f32(1e-4)
"""A pixel is finished before less light than this would come through."""
_TOUCHES = f32(LEAST)

_REORDER = {"contract", "nsz", "reassoc"}


@njit(fastmath=_REORDER, **DIVIDES)
def _shade(s, g, number):
    """Composite a Gaussian onto a block.

    Args:
        s: (_FIELDS * _PIXELS,) state.
        g: (RECORD,).
        number: its place in the tile's list, from 1.

    Returns:
        Pixels that are not finished.
    """
    n = _PIXELS
    x, y, xx, xy, yy, opacity = g[X], g[Y], g[XX], g[XY], g[YY], g[OPACITY]
    red, green, blue, depth = g[RED], g[GREEN], g[BLUE], g[DEPTH]
    live_pixels = f32(0)
    for i in range(n):
        dx, dy = s[_COLUMN * n + i] - x, s[_ROW * n + i] - y
        alpha = opacity * power_of_two(xx * dx * dx + xy * dx * dy + yy * dy * dy)
        through, live = s[_THROUGH * n + i], s[_LIVE * n + i]
        touches = alpha >= _TOUCHES
        alpha = _MOST if alpha > _MOST else alpha
        alpha = alpha * live if touches else f32(0)
        rest = through - through * alpha
        goes_on = rest >= _OPAQUE
        live = live if goes_on else f32(0)
        weight = through * alpha if goes_on else f32(0)
        s[_THROUGH * n + i] = rest if goes_on else through
        s[_LIVE * n + i] = live
        s[_RED * n + i] += weight * red
        s[_GREEN * n + i] += weight * green
        s[_BLUE * n + i] += weight * blue
        s[_DEPTH * n + i] += weight * depth
        s[_LAST * n + i] = number if weight > f32(0) else s[_LAST * n + i]
        live_pixels += live
    return live_pixels


@njit(fastmath=_REORDER, **DIVIDES)
def _shade_gradient(s, g, number, sums):
    """Take a Gaussian off a block again, and add to its sums (SUMS,) what the block's pixels give."""
    n = _PIXELS
    x, y, xx, xy, yy, opacity = g[X], g[Y], g[XX], g[XY], g[YY], g[OPACITY]
    red, green, blue, depth = g[RED], g[GREEN], g[BLUE], g[DEPTH]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = f32(0)
    for i in range(n):
        dx, dy = s[_COLUMN * n + i] - x, s[_ROW * n + i] - y
        alpha = opacity * power_of_two(xx * dx * dx + xy * dx * dy + yy * dy * dy)
        added = (alpha >= _TOUCHES) & (number <= s[_LAST * n + i])
        bent = alpha < _MOST
        alpha = alpha if bent else _MOST
        alpha = alpha if added else f32(0)
        more = f32(1) / (f32(1) - alpha)
        through = s[_THROUGH * n + i] * more
        weight = through * alpha
        of_red, of_green, of_blue = s[_OF_RED * n + i], s[_OF_GREEN * n + i], s[_OF_BLUE * n + i]
        of_depth, behind = s[_OF_DEPTH * n + i], s[_BEHIND * n + i]
        value = of_red * red + of_green * green + of_blue * blue + of_depth * depth
        q = alpha * (through * value - behind * more)
        q = q if bent else f32(0)
        s[_THROUGH * n + i] = through
        s[_BEHIND * n + i] = behind + weight * value
        s0 += q
        s1 += q * dx
        s2 += q * dy
        s3 += q * dx * dx
        s4 += q * dx * dy
        s5 += q * dy * dy
        s6 += weight * of_red
        s7 += weight * of_green
        s8 += weight * of_blue
        s9 += weight * of_depth
    sums[ALPHA] += s0
    sums[DX] += s1
    sums[DY] += s2
    sums[DXX] += s3
    sums[DXY] += s4
    sums[DYY] += s5
    sums[DRED] += s6
    sums[DGREEN] += s7
    sums[DBLUE] += s8
    sums[DDEPTH] += s9


@njit
def _reaches(g, left, top):
    """Whether a Gaussian's box meets the block that begins at this pixel."""
    return g[LEFT] < left + _SIDE and g[RIGHT] >= left and g[TOP] < top + _SIDE and g[BOTTOM] >= top


@njit
def _blank(s, left, top, width, height):
    """State of a block at this pixel before the first Gaussian; pixels outside the picture are finished."""
    s[:] = f32(0)
    for i in range(_PIXELS):
        column, row = left + i % _SIDE, top + i // _SIDE
        s[_COLUMN * _PIXELS + i], s[_ROW * _PIXELS + i] = column + f32(0.5), row + f32(0.5)
        s[_THROUGH * _PIXELS + i] = f32(1)
        s[_LIVE * _PIXELS + i] = f32(1) if column < width and row < height else f32(0)


@compiled()
def shade_row(records, entries, row, picture, through, last):
    """Composite a row of tiles.

    Args:
        records: (M, RECORD), sorted by depth.
        entries: (E,) int32, those that reach the row.
        row: of tiles.
        picture: (4, H, W) float32, written: red, green, blue and depth, without a background.
        through: (H, W), written: the light that comes through all.
        last: (H, W) float32, written: place in the tile's list, from 1, of the last Gaussian added; 0 for none.

    Returns:
        Pairs of a pixel and a Gaussian gone through.
    """
    _, height, width = picture.shape
    columns = (width + TILE - 1) // TILE
    starts, places = list_columns(records, entries, columns)
    room, live = np.empty(_BLOCKS * _FIELDS * _PIXELS, f32), np.empty(_BLOCKS, f32)
    pairs = 0
    for column in range(columns):
        for block in range(_BLOCKS):
            left, top = column * TILE + block % 2 * _SIDE, row * TILE + block // 2 * _SIDE
            _blank(room[block * _FIELDS * _PIXELS : (block + 1) * _FIELDS * _PIXELS], left, top, width, height)
            live[block] = f32(1) if left < width and top < height else f32(0)
        for p in range(starts[column], starts[column + 1]):
            g = records[entries[places[p]]]
            number = f32(p + 1 - starts[column])
            going = f32(0)
            for block in range(_BLOCKS):
                if live[block] > 0:
                    left, top = column * TILE + block % 2 * _SIDE, row * TILE + block // 2 * _SIDE
                    if _reaches(g, left, top):
                        s = room[block * _FIELDS * _PIXELS : (block + 1) * _FIELDS * _PIXELS]
                        live[block] = _shade(s, g, number)
                        pairs += _PIXELS
                    going += live[block]
            if going == 0:
                break
        for block in range(_BLOCKS):
            left, top = column * TILE + block % 2 * _SIDE, row * TILE + block // 2 * _SIDE
            s = room[block * _FIELDS * _PIXELS : (block + 1) * _FIELDS * _PIXELS]
            for i in range(_PIXELS):
                x, y = left + i % _SIDE, top + i // _SIDE
                if x < width and y < height:
                    for c in range(4):
                        picture[c, y, x] = s[(_RED + c) * _PIXELS + i]
                    through[y, x], last[y, x] = s[_THROUGH * _PIXELS + i], s[_LAST * _PIXELS + i]
    return pairs


@compiled()
def shade_row_gradient(records, entries, row, through, last, dpicture, behind, sums):
    """Sums over the pixels of a row of tiles for the gradients of the Gaussians that reach it.

    Args:
        records: as in `shade_row`, and the next two likewise.
        entries: ...
        row: ...
        through: (H, W), what `shade_row` wrote.
        last: (H, W), likewise.
        dpicture: (4, H, W), gradient of red, green, blue and depth.
        behind: (H, W), what the light that comes through all is worth.
        sums: (E, SUMS) float32 zeros, written.
    """
    _, height, width = dpicture.shape
    columns = (width + TILE - 1) // TILE
    starts, places = list_columns(records, entries, columns)
    room, deepest = np.empty(_BLOCKS * _FIELDS * _PIXELS, f32), np.empty(_BLOCKS, f32)
    for column in range(columns):
        furthest = f32(0)
        for block in range(_BLOCKS):
            left, top = column * TILE + block % 2 * _SIDE, row * TILE + block // 2 * _SIDE
            s = room[block * _FIELDS * _PIXELS : (block + 1) * _FIELDS * _PIXELS]
            _blank(s, left, top, width, height)
            deepest[block] = f32(0)
            for i in range(_PIXELS):
                x, y = left + i % _SIDE, top + i // _SIDE
                if x < width and y < height:
                    for c in range(4):
                        s[(_OF_RED + c) * _PIXELS + i] = dpicture[c, y, x]
                    s[_THROUGH * _PIXELS + i], s[_LAST * _PIXELS + i] = through[y, x], last[y, x]
                    s[_BEHIND * _PIXELS + i] = behind[y, x]
                    deepest[block] = max(deepest[block], last[y, x])
            furthest = max(furthest, deepest[block])
        for p in range(starts[column] + int(furthest) - 1, starts[column] - 1, -1):
            g = records[entries[places[p]]]
            number = f32(p + 1 - starts[column])
            for block in range(_BLOCKS):
                if number <= deepest[block]:
                    left, top = column * TILE + block % 2 * _SIDE, row * TILE + block // 2 * _SIDE
                    if _reaches(g, left, top):
                        s = room[block * _FIELDS * _PIXELS : (block + 1) * _FIELDS * _PIXELS]
                        _shade_gradient(s, g, number, sums[places[p]])


@compiled()
def add_rows(entries, sums, totals):
    """Add the sums (E, SUMS) of all rows' entries to their Gaussians' totals (M, SUMS) float64, in the rows' order."""
    for e in range(len(entries)):
        for j in range(SUMS):
            totals[entries[e], j] += sums[e, j]
