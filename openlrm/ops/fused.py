"""A transformer's layers on numpy arrays, for features without a gradient on a CPU.

As operations of their own, norms, biases, activations and residuals each go through memory twice; here they happen
to tiles that are in the cache for the product. Between products numbers stay in panels of 64 columns, (K / 64, P, 64)
with P a multiple of 64 (`openlrm.ops.host.panels` says why). Widths are multiples of 64. All arrays are float32 and
C-contiguous; others, and those that do not fit each other, raise TypeError and ValueError. A weight may be bfloat16,
its bits in uint16 (`openlrm.ops.host.arrays.weight_array`): then the product is in bfloat16 (`openlrm.ops.half`).
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.ops.half import few_rows, has_half_products, pack_half, product_half
from openlrm.ops.host.arrays import check_array, scratch, scratch_pairs
from openlrm.ops.host.sizes import WIDTH
from openlrm.ops.panels import NO_BIAS, check_panels, over_rows, pack_tiles, panels, to_panels, to_rows
from openlrm.utils.threads import host_threads, spread

__all__ = [
    "NO_BIAS",
    "WIDTH",
    "InferenceOnly",
    "add_product",
    "attend",
    "attend_heads",
    "modulated",
    "normed",
    "panels",
    "product",
    "silu",
    "small_product",
    "to_panels",
    "to_rows",
]


class InferenceOnly(nn.Cell):
    """A Cell whose `construct` works on numpy arrays and has no gradient."""

    def bprop(self, *_: Tensor) -> tuple:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError("the fused layers of inference have no gradient", hint="call set_train(True) on the model")


# Results go where the caller says: memory that is new in every layer costs 3 % of a transformer's time.


def normed(x: np.ndarray, norm: np.ndarray, epsilon: float, out: np.ndarray) -> np.ndarray:
    """Out = LayerNorm of panels; norm (2, K) is gain and offset, epsilon is added to the variance."""
    from openlrm.ops.host.panels import norm_panels

    check_panels(x, "x")
    check_array(norm, "norm", (2, len(x) * WIDTH))
    check_array(out, "out", x.shape)
    over_rows(lambda first, last: norm_panels(x, norm, np.float32(epsilon), first, last, out), x)
    return out


def product(
    x: np.ndarray, weight: np.ndarray, out: np.ndarray, bias: np.ndarray = NO_BIAS, activate: bool = False
) -> np.ndarray:
    """Out = x W^T + b on panels, through an exact GELU if asked for; weight (N, K), bias (N,)."""
    _multiply(x, weight, bias, NO_BIAS, activate, False, out)
    return out


def add_product(
    out: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: np.ndarray = NO_BIAS, gains: np.ndarray = NO_BIAS
) -> None:
    """Out += g (x W^T + b) on panels; weight (N, K), bias (N,), gains g (N,), of which empty ones are 1."""
    _multiply(x, weight, gains * bias if len(gains) and len(bias) else bias, gains, False, True, out)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, keys: int, out: np.ndarray, half: bool = False) -> np.ndarray:
    """Attention of heads of 64, a panel each.

    Args:
        q: (heads, P, 64).
        k: (heads, P', 64).
        v: (heads, P', 64).
        keys: rows of k and v that are there.
        out: (heads, P, 64), written.
        half: whether the two products are in bfloat16, where the processor has the instruction.

    Returns:
        out.
    """
    for array, name in ((q, "q"), (k, "k"), (v, "v")):
        check_panels(array, name)
    check_array(v, "v", k.shape)
    check_array(k, "k", (len(q), *k.shape[1:]))
    check_array(out, "out", q.shape)
    if not 0 < keys <= k.shape[1]:
        raise ValueError(f"keys={keys}, there is room for {k.shape[1]}")
    logarithms = np.empty(q.shape[:2], np.float32)
    attend_heads([(q[h], k[h, :keys], v[h, :keys], out[h], logarithms[h]) for h in range(len(q))], half)
    return out


def attend_heads(heads: list[tuple[np.ndarray, ...]], half: bool = False) -> None:
    """Attention of heads of 64.

    Args:
        heads: of each queries (Lq, 64), keys (Lk, 64), values (Lk, 64), and what is written: the result (Lq, 64) and,
            for the gradient, log2 of the sums of the exponentials (Lq,).
        half: see `attend`.
    """
    from openlrm.ops.host.attention import attend, padded

    half = half and has_half_products()
    if half:
        from openlrm.ops.host.attention_bf16 import attend_pairs

    queries, keys = len(heads[0][0]), len(heads[0][1])
    # Keys and values are laid out anew in every task, so few: two a thread, or one a head.
    rows = -(-queries * len(heads) // max(len(heads), 2 * host_threads()))
    rows = -(-rows // WIDTH) * WIDTH
    parts = -(-queries // rows)

    def work(task: int) -> None:
        q, k, v, out, logarithms = heads[task // parts]
        start = task % parts * rows
        given = q, k, v, np.float32(WIDTH**-0.5), start, min(start + rows, queries), out, logarithms
        if half:
            attend_pairs(*given, scratch_pairs(padded(keys)))
        else:
            attend(*given, scratch(2 * padded(keys)))

    spread(work, len(heads) * parts)


def _multiply(x, weight, bias, gains, activate: bool, onto: bool, out) -> None:
    # Packed at every call: a hundredth of a product's time, where kept tiles would be a second copy of the model, and
    # wrong once a weight is changed in place.
    if weight.dtype == np.uint16:
        product_half(x, pack_half(weight, gains), out, bias, activate, onto)
        return
    from openlrm.ops.host.panels import multiply_panels

    check_panels(x, "x")
    check_array(weight, "weight", (None, len(x) * WIDTH), contiguous=False)
    check_array(bias, "bias", (len(bias) and len(weight),))
    check_array(out, "out", (len(weight) // WIDTH, *x.shape[1:]))
    weight = gains[:, None] * weight if len(gains) else weight
    options = (x, pack_tiles(weight.T), bias, activate, onto)
    over_rows(lambda first, last: multiply_panels(*options, first, last, out), x)


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x), any shape."""
    return x / (1 + np.exp(-x))


def small_product(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x W^T + b of few rows (N, K) in float32, whatever the weight is kept in."""
    if weight.dtype == np.uint16:
        return few_rows(x, weight) + bias
    # Not BLAS, whose threads spin after it, nor an operation, as MindSpore's do.
    return np.einsum("pk,nk->pn", x, weight) + bias


def modulated(weight: np.ndarray, bias: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Gain and offset (N, 2, dim) of LN(x) (1 + scale) + shift, which is again a LayerNorm; shift, scale (N, dim)."""
    return np.stack([weight * (1 + scale), bias * (1 + scale) + shift], axis=1)
