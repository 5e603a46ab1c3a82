"""Products of panels in bfloat16 with the processor's dot products, sums in float32; for inference.

`vdpbf16ps` multiplies 32 pairs of bfloat16 numbers and adds each two products to one of 16 float32 numbers: twice the
multiplications of a float32 instruction in the same time, and weights take half the memory. Inputs are rounded to the
nearest bfloat16 (8 significant bits); numbers below 1.2e-38 count as zero.
"""

from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from openlrm.ops.host.functions import EXACT, f32, number_of
from openlrm.ops.host.layers import gelu
from openlrm.ops.host.sizes import TILE, WIDTH
from openlrm.ops.host.tiles import aligned
from openlrm.utils.compiled import compiled

ROWS, COLUMNS = 8, 32
"""Of the part of a result that stays in registers: 16 of the 32 hold sums, enough to hide an instruction's latency."""
PAIRS = WIDTH // 2
"""Pairs of bfloat16 numbers in a row of a tile; a pair is an int32."""

_LANES = 16


@cache
def is_available() -> bool:
    """Whether the loops are compiled for a processor that has the instruction (avx512_bf16)."""
    from numba.core.registry import cpu_target

    # What NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say counts, too: the compiler would stop at the instruction.
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+avx512bf16" in features.split(",")


class _BFloat16(ir.types._BaseFloatType):
    """LLVM's type, which llvmlite does not know."""

    null, intrinsic_name = "0.0", "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat16._create_instance()

_FLOATS = ir.VectorType(ir.FloatType(), _LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), _LANES)
_HALVES = ir.VectorType(_BFloat16(), _LANES)
_PAIRS = ir.VectorType(_BFloat16(), 2 * _LANES)


def _place(context, builder, array_type, array, start):
    """Pointer to an element of a flat array."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [start])


@intrinsic
def round_row(context, row, pairs, start):
    """Round the WIDTH float32 numbers of `row` to bfloat16: PAIRS int32 of `pairs` from `start` on."""

    def code(context, builder, signature, arguments):
        source = _place(context, builder, row, arguments[0], ir.IntType(64)(0))
        target = _place(context, builder, pairs, arguments[1], arguments[2])
        target = builder.bitcast(target, _BFloat16().as_pointer())
        for part in range(0, WIDTH, _LANES):
            place = builder.gep(source, [ir.IntType(64)(part)])
            numbers = builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4)
            place = builder.gep(target, [ir.IntType(64)(part)])
            builder.store(builder.fptrunc(numbers, _HALVES), builder.bitcast(place, _HALVES.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(row, pairs, start), code


@intrinsic
def add_products(context, rows, row, places, weight, column, out, start):
    """Add ROWS rows times COLUMNS columns of a packed weight to the numbers of `out`.

    As vector instructions, since numba knows no bfloat16. Nothing is checked. Arrays are flat: `rows` int32, `places`
    = K / WIDTH tiles of (WIDTH, PAIRS), in the first of which the first row begins at `row`; `weight` of `pack_pairs`,
    where the columns begin at `column`; `out` float32, rows of WIDTH, where the first number is at `start`.
    """

    def code(context, builder, signature, arguments):
        index = ir.IntType(64)
        first_row, count, first_column, first_out = (arguments[i] for i in (1, 2, 4, 6))
        function_type = ir.FunctionType(_FLOATS, [_FLOATS, _PAIRS, _PAIRS])
        dot = cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.avx512bf16.dpbf16ps.512")
        vectors = COLUMNS // _LANES
        targets = [
            builder.bitcast(
                _place(context, builder, out, arguments[5], builder.add(first_out, index(i * WIDTH + j * _LANES))),
                _FLOATS.as_pointer(),
            )
            for i in range(ROWS)
            for j in range(vectors)
        ]
        sums = [cgutils.alloca_once_value(builder, builder.load(target, align=4)) for target in targets]
        no_lane = ir.Constant(_INTEGERS, ir.Undefined)
        with cgutils.for_range(builder, count) as tile:
            tile_row = builder.add(first_row, builder.mul(tile.index, index(WIDTH * PAIRS)))
            tile_column = builder.add(first_column, builder.mul(tile.index, index(PAIRS * COLUMNS)))
            with cgutils.for_range(builder, index(PAIRS)) as pair:
                at = builder.add(tile_column, builder.mul(pair.index, index(COLUMNS)))
                factors = []
                for j in range(vectors):
                    place = _place(context, builder, weight, arguments[3], builder.add(at, index(j * _LANES)))
                    vector = builder.load(builder.bitcast(place, _INTEGERS.as_pointer()), align=4)
                    factors.append(builder.bitcast(vector, _PAIRS))
                at = builder.add(tile_row, pair.index)
                for i in range(ROWS):
                    place = _place(context, builder, rows, arguments[0], builder.add(at, index(i * PAIRS)))
                    lane = builder.insert_element(no_lane, builder.load(place, align=4), ir.IntType(32)(0))
                    same = builder.shuffle_vector(lane, no_lane, ir.Constant(_INTEGERS, [0] * _LANES))
                    for j in range(vectors):
                        total = sums[i * vectors + j]
                        arguments_of_dot = [builder.load(total), builder.bitcast(same, _PAIRS), factors[j]]
                        builder.store(builder.call(dot, arguments_of_dot), total)
        for total, target in zip(sums, targets, strict=True):
            builder.store(builder.load(total), target, align=4)
        return context.get_dummy_value()

    return types.void(rows, row, places, weight, column, out, start), code


@compiled()
def pack_pairs(weight, first, last, pairs):
    """Round the columns first..last (multiples of WIDTH) of a product, rows of weight (N, K), to pairs.

    Args:
        weight: (N, K) float32, C-contiguous; N and K are multiples of WIDTH.
        first: column to begin with.
        last: one past the last column.
        pairs: (N K / 2,) int32, written: N / COLUMNS, K / 2, COLUMNS.
    """
    inner = weight.shape[1]
    row = np.empty(PAIRS, np.int32)
    for n in range(first, last):
        start = n // COLUMNS * COLUMNS * (inner // 2) + n % COLUMNS
        for place in range(0, inner, WIDTH):
            round_row(weight[n, place : place + WIDTH], row, 0)
            for k in range(PAIRS):
                pairs[start + (place // 2 + k) * COLUMNS] = row[k]


@compiled(fastmath=EXACT)
def pack_bits(weight, gains, first, last, pairs):
    """`pack_pairs` of a weight that is bfloat16 already.

    Args:
        weight: (N, K / 2) int32, pairs of neighbours in a row.
        gains: (N,) float32 that rows are multiplied with, or empty.
        first: column to begin with.
        last: one past the last column.
        pairs: as above.
    """
    inner = weight.shape[1]
    row, wide = np.empty(PAIRS, np.int32), np.empty(WIDTH, f32)
    for block in range(first, last, COLUMNS):
        for place in range(0, inner, PAIRS):
            start = block * inner + place * COLUMNS
            for j in range(COLUMNS):
                bits = weight[block + j, place : place + PAIRS]
                if len(gains) > 0:
                    for k in range(PAIRS):
                        wide[2 * k] = number_of(bits[k] << np.int32(16)) * gains[block + j]
                        wide[2 * k + 1] = number_of(bits[k] & np.int32(-65536)) * gains[block + j]
                    round_row(wide, row, 0)
                    bits = row
                for k in range(PAIRS):
                    pairs[start + k * COLUMNS + j] = bits[k]


@njit(fastmath=EXACT)
def _begin(result, bias, onto):
    """What the products are added to: zeros or what is there, and the bias."""
    for i in range(WIDTH):
        target = result[i * WIDTH : (i + 1) * WIDTH]
        for j in range(WIDTH):
            offset = bias[j] if len(bias) > 0 else f32(0)
            target[j] = target[j] + offset if onto else offset


@compiled(fastmath=EXACT)
def multiply_pairs(x, pairs, bias, activate, onto, first, last, out, room):
    """`openlrm.ops.host.panels.multiply_panels` in bfloat16.

    Args:
        x: (K / WIDTH, P, WIDTH) float32.
        pairs: of `pack_pairs`, for a weight (N, K).
        bias: (N,) or empty.
        activate: whether an exact GELU follows.
        onto: whether the products are added to out's numbers.
        first: row to begin with, a multiple of WIDTH.
        last: one past the last row, a multiple of WIDTH.
        out: (N / WIDTH, P, WIDTH) float32.
        room: scratch, int32, (last - first) * K / 2 numbers.
    """
    places = len(x)
    for block in range(first, last, WIDTH):
        for place in range(places):
            start = ((block - first) * places + place * WIDTH) * PAIRS
            for i in range(WIDTH):
                round_row(x[place, block + i], room, start + i * PAIRS)
    activated = aligned(TILE)
    for column in range(len(out)):
        for block in range(first, last, WIDTH):
            result = out[column, block : block + WIDTH].reshape(TILE)
            _begin(result, bias[column * WIDTH : (column + 1) * WIDTH], onto)
            for half in range(0, WIDTH, COLUMNS):
                weights = (column * WIDTH + half) * places * PAIRS
                for i in range(0, WIDTH, ROWS):
                    rows = ((block - first) * places + i) * PAIRS
                    add_products(room, rows, places, pairs, weights, result, i * WIDTH + half)
            if activate:
                gelu(result, activated)  # in place it would not be vectorised
                for j in range(TILE):
                    result[j] = activated[j]
