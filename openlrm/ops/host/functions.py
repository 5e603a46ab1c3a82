"""Functions of a float32 that compiled loops can vectorise, unlike the library's."""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

f32 = np.float32
LOG2_E = f32(math.log2(math.e))

EXACT = {"contract", "nsz"}
"""What the compiler may do: infinities and NaNs keep their meaning, sums their order."""
REORDER = EXACT | {"reassoc"}
"""For sums that are vectorised: their order may change."""
DIVIDES = {"error_model": "numpy"}
"""For loops with a division: Python's error when it is by zero would keep them from being vectorised."""


@intrinsic
def _bits_of(context, number):
    """A float32's bits as an int32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), code


@intrinsic
def number_of(context, bits):
    """The float32 of an int32's bits."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


@njit(fastmath=EXACT)
def power_of_two(x):
    """2^x for x up to 127, never below 2^-126; a NaN stays one.

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
    return p * number_of((_bits_of(shifted) << np.int32(23)) + np.int32(127 << 23))


@njit(fastmath=EXACT)
def exponential(x):
    """e^x for x up to 88, never below 1e-38."""
    return power_of_two(x * LOG2_E)


@njit(fastmath=EXACT)
def softplus(x):
    """log(1 + e^x), relative error 3e-7 down to 1e-37."""
    y = exponential(-abs(x))
    # Interpolates log(1 + y) / y at the Chebyshev points of [0, 1].
    p = f32(-0.003176057)
    p = p * y + f32(0.0195425272)
    p = p * y + f32(-0.0563736127)
    p = p * y + f32(0.105436238)
    p = p * y + f32(-0.152696671)
    p = p * y + f32(0.196632743)
    p = p * y + f32(-0.249516163)
    p = p * y + f32(0.333297105)
    p = p * y + f32(-0.499998926)
    p = p * y + f32(0.999999995)
    return max(x, f32(0)) + p * y


@njit(fastmath=EXACT, **DIVIDES)
def sigmoid(x):
    """1 / (1 + e^-x)."""
    y = exponential(-abs(x))
    return (y if x < 0 else f32(1)) / (f32(1) + y)
