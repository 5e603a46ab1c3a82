"""Inner loops of the compiled kernels: products of small tiles. Rows are WIDTH numbers, arrays are flat."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from openlrm.ops.host.functions import REORDER, f32
from openlrm.ops.host.sizes import WIDTH


@njit
def aligned(count):
    """(count,) float32 zeros that begin at a cache line.

    Products whose results straddle lines take 15 % longer, with such weights 4 %.
    """
    room = np.zeros(count + 16, f32)
    first = -room.ctypes.data % 64 // 4
    return room[first : first + count]


@njit(fastmath=REORDER)
def multiply_group(rows, weight, out):
    """Add rows (GROUP, WIDTH) times weight (WIDTH, WIDTH) to out (GROUP, WIDTH).

    Four inputs of four rows at once: the 16 factors stay in registers over the inner loop, where a weight that is
    loaded serves four products. 108 GFLOP/s a core, as fast as BLAS on large matrices.
    """
    n = WIDTH
    for k in range(0, n, 4):
        w = weight[k * n : (k + 4) * n]
        a0, a1, a2, a3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        b0, b1, b2, b3 = rows[n + k], rows[n + k + 1], rows[n + k + 2], rows[n + k + 3]
        c0, c1, c2, c3 = rows[2 * n + k], rows[2 * n + k + 1], rows[2 * n + k + 2], rows[2 * n + k + 3]
        d0, d1, d2, d3 = rows[3 * n + k], rows[3 * n + k + 1], rows[3 * n + k + 2], rows[3 * n + k + 3]
        for j in range(n):
            w0, w1, w2, w3 = w[j], w[n + j], w[2 * n + j], w[3 * n + j]
            out[j] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
            out[n + j] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
            out[2 * n + j] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
            out[3 * n + j] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3


@njit(fastmath=REORDER)
def outer_group(rows, other, out):
    """Add rows^T other, both (GROUP, WIDTH), to out (WIDTH, WIDTH)."""
    n = WIDTH
    for k in range(0, n, 4):
        w = out[k * n : (k + 4) * n]
        a0, a1, a2, a3 = rows[k], rows[n + k], rows[2 * n + k], rows[3 * n + k]
        b0, b1, b2, b3 = rows[k + 1], rows[n + k + 1], rows[2 * n + k + 1], rows[3 * n + k + 1]
        c0, c1, c2, c3 = rows[k + 2], rows[n + k + 2], rows[2 * n + k + 2], rows[3 * n + k + 2]
        d0, d1, d2, d3 = rows[k + 3], rows[n + k + 3], rows[2 * n + k + 3], rows[3 * n + k + 3]
        for j in range(n):
            v0, v1, v2, v3 = other[j], other[n + j], other[2 * n + j], other[3 * n + j]
            w[j] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
            w[n + j] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
            w[2 * n + j] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
            w[3 * n + j] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3


@intrinsic
def mix_rows(context, table, starts, shares, bias, out):
    """Out = ReLU(bias + the sum of shares times rows of a flat table), all of WIDTH numbers; a NaN stays one.

    As vector instructions, since a loop would first ask whether `out` overlaps each of the rows: 56 ns for 12 rows
    against 20. Starts are not checked.
    """
    count = len(starts)

    def code(context, builder, signature, arguments):
        lanes = ir.VectorType(ir.FloatType(), 16)
        bases = [
            context.make_array(signature.args[i])(context, builder, arguments[i]).data
            for i in (0, 3, 4)  # table, bias, out
        ]

        def vector_at(base, start):
            return builder.bitcast(builder.gep(base, [start]), lanes.as_pointer())

        def splat(number):
            first = builder.insert_element(ir.Constant(lanes, ir.Undefined), number, ir.IntType(32)(0))
            order = ir.Constant(ir.VectorType(ir.IntType(32), 16), [0] * 16)
            return builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), order)

        offsets = [builder.extract_value(arguments[1], i) for i in range(count)]
        factors = [splat(builder.extract_value(arguments[2], i)) for i in range(count)]
        zero = ir.Constant(lanes, [0.0] * 16)
        for part in range(0, WIDTH, 16):
            place = ir.IntType(64)(part)
            total = builder.load(vector_at(bases[1], place), align=4)
            for offset, factor in zip(offsets, factors, strict=True):
                row = builder.load(vector_at(bases[0], builder.add(offset, place)), align=4)
                total = builder.fadd(builder.fmul(row, factor, flags=("contract",)), total, flags=("contract",))
            positive = builder.select(builder.fcmp_ordered("<", total, zero), zero, total)
            builder.store(positive, vector_at(bases[2], place), align=4)
        return context.get_dummy_value()

    return types.void(table, starts, shares, bias, out), code
