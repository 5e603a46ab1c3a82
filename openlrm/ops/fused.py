"""Products with what comes before and after them in a transformer's layer, on numpy arrays: inference on a CPU.

As operations of their own, norms, biases, activations and residuals each go through memory twice; here they happen
to tiles that are in the cache for the product. There is no gradient: training takes the operations one by one, and of
these functions `product` alone.
"""

from __future__ import annotations

import numpy as np

from openlrm.ops.host import spread_ranges

_TILE_WIDTH, _TASK_ROWS = 64, 128
_NO_BIAS = np.empty(0, np.float32)


def norm_product(
    x: np.ndarray,
    norm: np.ndarray,
    epsilon: float,
    weight: np.ndarray,
    bias: np.ndarray = _NO_BIAS,
    activate: bool = False,
) -> np.ndarray:
    """LayerNorm(x) W^T + b, through an exact GELU if asked for.

    Args:
        x: (P, K), K a multiple of 64, as N is.
        norm: (2, K), gain and offset.
        epsilon: added to the variance.
        weight: (N, K).
        bias: (N,); none without it.
        activate: whether the GELU follows.

    Returns:
        (P, N).
    """
    from openlrm.ops.host_linear import multiply_normed

    tiles, out = _packed(weight.T), np.empty((len(x), len(weight)), np.float32)
    rest = (norm, np.float32(epsilon), tiles, bias, activate)
    spread_ranges(lambda first, last: multiply_normed(x, *rest, first, last, out), len(x), _TASK_ROWS)
    return out


def product(x: np.ndarray, matrix: np.ndarray, bias: np.ndarray = _NO_BIAS) -> np.ndarray:
    """X M + b: (P, K), (K, N), (N,) -> (P, N); K and N are multiples of 64."""
    from openlrm.ops.host_linear import multiply

    tiles, out = _packed(matrix), np.empty((len(x), matrix.shape[1]), np.float32)
    spread_ranges(lambda first, last: multiply(x, tiles, bias, first, last, out), len(x), _TASK_ROWS)
    return out


def add_product(out: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: np.ndarray = _NO_BIAS) -> None:
    """Out += x W^T + b: (P, N), (P, K), (N, K), (N,); K and N are multiples of 64."""
    from openlrm.ops.host_linear import multiply_onto

    tiles = _packed(weight.T)
    spread_ranges(lambda first, last: multiply_onto(x, tiles, bias, first, last, out), len(x), _TASK_ROWS)


def _packed(matrix: np.ndarray) -> np.ndarray:
    """Tiles of a matrix (K, N)."""
    from openlrm.ops.host_linear import pack

    tiles = np.empty(matrix.size, np.float32)
    spread_ranges(lambda first, last: pack(matrix, first, last, tiles), matrix.shape[1], _TILE_WIDTH)
    return tiles
