"""Exact GELU and LayerNorm by compiled loops on numpy arrays: one pass over memory each, forward and backward."""

import math

import numpy as np
from numba import njit

from openlrm.ops.host_tiles import LOG2_E, WIDTH, f32, power_of_two

_EXACT = {"contract", "nsz"}
_REORDER = _EXACT | {"reassoc"}


@njit(fastmath=_EXACT)
def _normal(x, tail, density, bits, powers):
    """Of a row: exp(-x^2 / 2) and the normal distribution's probability beyond |x|.

    Abramowitz and Stegun (1964), 7.1.26: erfc(z) = (a1 t + ... + a5 t^5) exp(-z^2), t = 1 / (1 + p z), error 1.5e-7.
    """
    half_log2_e = f32(-0.5) * LOG2_E
    for j in range(WIDTH):
        density[j] = x[j] * x[j] * half_log2_e
    power_of_two(density, f32(0), bits, powers)
    scale = f32(0.3275911 / math.sqrt(2))
    for j in range(WIDTH):
        t = f32(1) / (f32(1) + scale * abs(x[j]))
        p = f32(0.5 * 1.061405429)
        p = p * t + f32(0.5 * -1.453152027)
        p = p * t + f32(0.5 * 1.421413741)
        p = p * t + f32(0.5 * -0.284496736)
        p = p * t + f32(0.5 * 0.254829592)
        tail[j] = p * t * density[j]


@njit(fastmath=_EXACT, nogil=True, cache=True)
def gelu(x, out):
    """X times the normal distribution's probability below it; flat arrays, a multiple of WIDTH long."""
    tail, density = np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    bits = np.empty(WIDTH, np.int32)
    powers = bits.view(np.float32)
    for start in range(0, len(x), WIDTH):
        row, target = x[start : start + WIDTH], out[start : start + WIDTH]
        _normal(row, tail, density, bits, powers)
        for j in range(WIDTH):
            target[j] = row[j] * (tail[j] if row[j] < 0 else f32(1) - tail[j])


@njit(fastmath=_EXACT, nogil=True, cache=True)
def gelu_gradient(x, dout, dx):
    """Gradient of `gelu`: P(x) + x p(x)."""
    tail, density = np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    bits = np.empty(WIDTH, np.int32)
    powers = bits.view(np.float32)
    height = f32(1 / math.sqrt(2 * math.pi))
    for start in range(0, len(x), WIDTH):
        row, of_row, target = x[start : start + WIDTH], dout[start : start + WIDTH], dx[start : start + WIDTH]
        _normal(row, tail, density, bits, powers)
        for j in range(WIDTH):
            below = tail[j] if row[j] < 0 else f32(1) - tail[j]
            target[j] = of_row[j] * (below + row[j] * density[j] * height)


@njit(fastmath=_REORDER)
def mean_and_scale(row, epsilon):
    """Mean of a row and one over its standard deviation."""
    total = f32(0)
    for j in range(len(row)):
        total += row[j]
    mean = total / f32(len(row))
    total = f32(0)
    for j in range(len(row)):
        total += (row[j] - mean) * (row[j] - mean)
    return mean, f32(1) / math.sqrt(total / f32(len(row)) + epsilon)


@njit(fastmath=_EXACT, nogil=True, cache=True)
def layer_norm(x, weight, bias, epsilon, out):
    """Rows (P, D) to mean 0 and variance 1, times weight (D,), plus bias (D,)."""
    for p in range(len(x)):
        row, target = x[p], out[p]
        mean, scale = mean_and_scale(row, epsilon)
        for j in range(len(row)):
            target[j] = (row[j] - mean) * scale * weight[j] + bias[j]


@njit(fastmath=_REORDER, nogil=True, cache=True)
def layer_norm_gradient(x, weight, epsilon, dout, dx, dweight, dbias):
    """Gradient of `layer_norm`: writes dx (P, D), adds to dweight (D,) and dbias (D,)."""
    for p in range(len(x)):
        row, of_row, target = x[p], dout[p], dx[p]
        mean, scale = mean_and_scale(row, epsilon)
        total, along = f32(0), f32(0)
        for j in range(len(row)):
            normed = (row[j] - mean) * scale
            dweight[j] += of_row[j] * normed
            dbias[j] += of_row[j]
            total += of_row[j] * weight[j]
            along += of_row[j] * weight[j] * normed
        total /= f32(len(row))
        along /= f32(len(row))
        for j in range(len(row)):
            normed = (row[j] - mean) * scale
            target[j] = scale * (of_row[j] * weight[j] - total - normed * along)
