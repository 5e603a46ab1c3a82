"""Matrix products of linear layers by compiled loops on numpy arrays, for widths that are multiples of 64.

BLAS is as fast (numpy's: 197 GFLOP/s on two cores, this: see benchmarks/roofline.md), but its threads and MindSpore's
go on spinning after a product and take the cores from the loops that come next.
"""

from numba import njit

from openlrm.ops.host.functions import EXACT, f32
from openlrm.ops.host.sizes import GROUP, TILE, WIDTH
from openlrm.ops.host.tiles import aligned, multiply_group, outer_group
from openlrm.utils.compiled import compiled


@compiled(fastmath=EXACT)
def pack(matrix, first, last, tiles):
    """Tiles for columns first..last (multiples of WIDTH): matrix (K, N) -> tiles (N / W, K / W, W in, W out).

    Numbers are read in the order they lie in: against it, the rows of a transposed matrix, 2^n numbers apart, push each
    other out of the L1 cache, and packing takes three to eight times as long.
    """
    inputs = matrix.shape[0] // WIDTH
    transposed = matrix.strides[0] < matrix.strides[1]
    for column in range(first // WIDTH, last // WIDTH):
        for place in range(inputs):
            start = (column * inputs + place) * TILE
            tile = tiles[start : start + TILE]
            part = matrix[place * WIDTH : (place + 1) * WIDTH, column * WIDTH : (column + 1) * WIDTH]
            if transposed:
                for j in range(WIDTH):
                    for i in range(WIDTH):
                        tile[i * WIDTH + j] = part[i, j]
            else:
                for i in range(WIDTH):
                    for j in range(WIDTH):
                        tile[i * WIDTH + j] = part[i, j]


@njit
def _copy(row, target):
    """WIDTH numbers; an assignment of slices would look whether they overlap."""
    for j in range(WIDTH):
        target[j] = row[j]


@njit(fastmath=EXACT)
def _row_tiles(x, first, last, tiles):
    """Rows first..last, at most WIDTH, of x (P, K) -> K / WIDTH tiles of WIDTH rows, padded with zeros."""
    for i in range(WIDTH):
        for place in range(x.shape[1] // WIDTH):
            target = tiles[place * TILE + i * WIDTH : place * TILE + (i + 1) * WIDTH]
            if first + i < last:
                _copy(x[first + i, place * WIDTH : (place + 1) * WIDTH], target)
            else:
                target[:] = f32(0)


@compiled(fastmath=EXACT)
def multiply(x, tiles, bias, first, last, out):
    """Rows first..last of out = x times the packed matrix, plus bias (none when empty).

    Rows are copied into tiles, and out of them: rows 2^n numbers apart fall into the same lines of the L1 cache.

    Args:
        x: (P, K), K a multiple of WIDTH.
        tiles: of `pack`, columns of tiles one after another.
        bias: (N,) or empty.
        first: row to begin with.
        last: one past the last row.
        out: (P, N), N a multiple of WIDTH.
    """
    inner, group = x.shape[1], GROUP * WIDTH
    rows, result = aligned(WIDTH * inner), aligned(TILE)
    for block in range(first, last, WIDTH):
        end = min(block + WIDTH, last)
        _row_tiles(x, block, end, rows)
        for column in range(0, out.shape[1], WIDTH):
            result[:] = f32(0)
            if len(bias) > 0:
                for i in range(WIDTH):
                    _copy(bias[column : column + WIDTH], result[i * WIDTH : (i + 1) * WIDTH])
            for place in range(0, len(rows), TILE):
                start = column * inner + place
                tile = tiles[start : start + TILE]
                for p in range(0, (end - block) * WIDTH, group):
                    multiply_group(rows[place + p : place + p + group], tile, result[p : p + group])
            for i in range(end - block):
                _copy(result[i * WIDTH : (i + 1) * WIDTH], out[block + i, column : column + WIDTH])


@compiled(fastmath=EXACT)
def weight_gradient(dout, x, first, last, dweight, dbias):
    """Outputs first..last (multiples of WIDTH) of dweight = dout^T x, and of the sum of dout's rows.

    Args:
        dout: (P, N).
        x: (P, K).
        first: output to begin with.
        last: one past the last output.
        dweight: (N, K), written.
        dbias: (N,), written.
    """
    inner, group = x.shape[1], GROUP * WIDTH
    width = last - first
    rows, of_rows, sums = aligned(WIDTH * inner), aligned(WIDTH * width), aligned(width * inner)
    dbias[first:last] = f32(0)
    for block in range(0, len(x), WIDTH):
        end = min(block + WIDTH, len(x))
        _row_tiles(x, block, end, rows)
        _row_tiles(dout[:, first:last], block, end, of_rows)
        for p in range(block, end):
            for j in range(first, last):
                dbias[j] += dout[p, j]
        for column in range(0, width * WIDTH, TILE):
            for place in range(0, inner * WIDTH, TILE):
                start = column // WIDTH * inner + place
                tile = sums[start : start + TILE]
                for p in range(0, TILE, group):
                    outer_group(of_rows[column + p : column + p + group], rows[place + p : place + p + group], tile)
    for column in range(0, width, WIDTH):
        for place in range(0, inner, WIDTH):
            start = column * inner + place * WIDTH
            for i in range(WIDTH):
                row = dweight[first + column + i, place : place + WIDTH]
                _copy(sums[start + i * WIDTH : start + (i + 1) * WIDTH], row)
