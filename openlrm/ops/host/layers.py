"""Exact GELU and LayerNorm by compiled loops on numpy arrays: one pass over memory each, forward and backward."""

import math

from numba import njit

from openlrm.ops.host.functions import DIVIDES, EXACT, REORDER, exponential, f32
from openlrm.utils.compiled import compiled


@njit(fastmath=EXACT, **DIVIDES)
def _normal(x):
    """exp(-x^2 / 2), and the normal distribution's probability beyond |x|.

    Abramowitz and Stegun (1964), 7.1.26: erfc(z) = (a1 t + ... + a5 t^5) exp(-z^2), t = 1 / (1 + p z), error 1.5e-7.
    """
    density = exponential(f32(-0.5) * x * x)
    t = f32(1) / (f32(1) + f32(0.3275911 / math.sqrt(2)) * abs(x))
    p = f32(0.5 * 1.061405429)
    p = p * t + f32(0.5 * -1.453152027)
    p = p * t + f32(0.5 * 1.421413741)
    p = p * t + f32(0.5 * -0.284496736)
    p = p * t + f32(0.5 * 0.254829592)
    return density, p * t * density


@compiled(fastmath=EXACT, **DIVIDES)
def gelu(x, out):
    """X times the normal distribution's probability below it; flat arrays."""
    for j in range(len(x)):
        _, tail = _normal(x[j])
        out[j] = x[j] * (tail if x[j] < 0 else f32(1) - tail)


@compiled(fastmath=EXACT, **DIVIDES)
def gelu_gradient(x, dout, dx):
    """Gradient of `gelu`: P(x) + x p(x)."""
    height = f32(1 / math.sqrt(2 * math.pi))
    for j in range(len(x)):
        density, tail = _normal(x[j])
        below = tail if x[j] < 0 else f32(1) - tail
        dx[j] = dout[j] * (below + x[j] * density * height)


@njit(fastmath=REORDER)
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


@compiled(fastmath=EXACT)
def layer_norm(x, weight, bias, epsilon, out):
    """Rows (P, D) to mean 0 and variance 1, times weight (D,), plus bias (D,)."""
    for p in range(len(x)):
        row, target = x[p], out[p]
        mean, scale = mean_and_scale(row, epsilon)
        for j in range(len(row)):
            target[j] = (row[j] - mean) * scale * weight[j] + bias[j]


@compiled(fastmath=REORDER)
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
