"""Products of a few rows with weights that are kept in bfloat16, in float32 on any processor: memory decides there."""

import numpy as np
from numba import njit

from openlrm.ops.host.functions import REORDER, f32, number_of
from openlrm.utils.compiled import compiled


@njit(fastmath=REORDER)
def _dot(x, bits):
    total = f32(0)
    for k in range(len(x)):
        total += x[k] * number_of(np.int32(bits[k]) << np.int32(16))
    return total


@compiled(fastmath=REORDER)
def multiply_few(x, weight, first, last, out):
    """Columns first..last of out = x W^T.

    Args:
        x: (P, K) float32.
        weight: (N, K) uint16, bits of bfloat16.
        first: column to begin with.
        last: one past the last column.
        out: (P, N) float32, written.
    """
    for n in range(first, last):
        for p in range(len(x)):
            out[p, n] = _dot(x[p], weight[n])
