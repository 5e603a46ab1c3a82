"""Inner loops of the compiled kernels: products of small tiles, and powers. Rows are WIDTH numbers, arrays are flat.

Numba's cache looks at the file of a cached function only: after a change here, remove the `__pycache__` folders of
the files that call these.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

f32 = np.float32
LOG2_E = f32(math.log2(math.e))
WIDTH = 64
"""Numbers in a row: a head of every released size, and a hidden layer of the field's decoder."""
GROUP = 4
"""Rows worked on at once."""

# Sums may be reordered, so that they are vectorised; infinities and NaNs keep their meaning.
_EXACT = {"contract", "nsz"}
_REORDER = _EXACT | {"reassoc"}


@njit
def aligned(count):
    """(count,) float32 zeros that begin at a cache line.

    Products whose results straddle lines take 15 % longer, with such weights 4 %.
    """
    room = np.zeros(count + 16, f32)
    first = -room.ctypes.data % 64 // 4
    return room[first : first + count]


@njit(fastmath=_REORDER)
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


@njit(fastmath=_REORDER)
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
def _bits_of(context, number):
    """A float32's bits as an int32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), code


@intrinsic
def _number_of(context, bits):
    """The float32 of an int32's bits."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


@njit(fastmath=_EXACT)
def power_of_two(x):
    """2^x of a float32, never below 2^-126; a NaN stays one.

    A polynomial (error 2e-7), since the library's exponential is not vectorised. Adding 1.5 * 2^23 rounds to a whole
    number and leaves it in the low bits, whence it moves into the exponent: integers made by conversion take twice as
    long.
    """
    x = f32(-126) if x < f32(-126) else x
    shifted = x + f32(12582912)
    x -= shifted - f32(12582912)
    # Interpolates 2^x at the Chebyshev points of [-0.5, 0.5].
    p = f32(0.00134004322)
    p = p * x + f32(0.0096760371)
    p = p * x + f32(0.0555032721)
    p = p * x + f32(0.240221074)
    p = p * x + f32(0.693147207)
    p = p * x + f32(1)
    return p * _number_of((_bits_of(shifted) << np.int32(23)) + np.int32(127 << 23))
