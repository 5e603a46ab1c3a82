"""Products of panels whose weights are kept in bfloat16, where the processor has the instruction for them.

Elsewhere the same calls keep weights in float32 and give what `openlrm.ops.fused.product` gives: bfloat16 without the
instruction would be many times slower, not faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from openlrm.ops.host.arrays import aligned_array, check_array, scratch_pairs, widened
from openlrm.ops.host.sizes import WIDTH
from openlrm.ops.panels import NO_BIAS, check_panels, over_rows, pack_tiles
from openlrm.utils.logging import get_logger
from openlrm.utils.threads import spread_ranges

_log = get_logger(__name__)


@dataclass(frozen=True)
class PackedWeight:
    """A weight (N, K) as the products take it, in 2 bytes a number or in 4.

    Attributes:
        outputs: N, a multiple of 64.
        inputs: K, a multiple of 64.
        numbers: flat; int32, each a pair of bfloat16, or float32.
    """

    outputs: int
    inputs: int
    numbers: np.ndarray

    @property
    def is_half(self) -> bool:
        """Whether products are in bfloat16."""
        return self.numbers.dtype == np.int32


def has_half_products() -> bool:
    """Whether the processor has avx512_bf16; the log says so once where it does not."""
    from openlrm.ops.host import bf16

    if not bf16.is_available():
        _tell_once()
        return False
    return True


def pack_half(weight: np.ndarray, gains: np.ndarray = NO_BIAS) -> PackedWeight:
    """Round a weight to bfloat16, or keep it in float32 where the processor lacks avx512_bf16; the log says so.

    Args:
        weight: (N, K) float32, or of bfloat16 the bits in uint16.
        gains: (N,) that rows are multiplied with first; of ones if empty.

    Raises:
        TypeError: of another kind, or not C-contiguous.
        ValueError: N or K is no multiple of 64.
    """
    if weight.dtype != np.uint16:
        check_array(weight, "weight", (None, None))
    elif not weight.flags.c_contiguous:
        raise TypeError("weight is not C-contiguous: use numpy.ascontiguousarray")
    outputs, inputs = weight.shape
    if outputs % WIDTH or inputs % WIDTH:
        raise ValueError(f"weight has shape {weight.shape}, expected multiples of {WIDTH}")
    check_array(gains, "gains", (len(gains) and outputs,))
    if not has_half_products():
        wide = widened(weight)
        return PackedWeight(outputs, inputs, pack_tiles((gains[:, None] * wide if len(gains) else wide).T))
    from openlrm.ops.host.bf16 import pack_bits, pack_pairs

    pairs = aligned_array(weight.size // 2).view(np.int32)
    if weight.dtype == np.uint16:
        bits = weight.view(np.int32)
        spread_ranges(lambda first, last: pack_bits(bits, gains, first, last, pairs), outputs, WIDTH)
    else:
        wide = gains[:, None] * weight if len(gains) else weight
        spread_ranges(lambda first, last: pack_pairs(wide, first, last, pairs), outputs, WIDTH)
    return PackedWeight(outputs, inputs, pairs)


def product_half(
    x: np.ndarray,
    weight: PackedWeight,
    out: np.ndarray,
    bias: np.ndarray = NO_BIAS,
    activate: bool = False,
    onto: bool = False,
) -> np.ndarray:
    """Out = x W^T + b on panels of float32, x rounded to bfloat16 as the weight is, sums in float32.

    Args:
        x: (K / 64, P, 64).
        weight: of `pack_half`.
        out: (N / 64, P, 64), written.
        bias: (N,) or empty.
        activate: whether an exact GELU follows.
        onto: whether the product is added to what `out` holds.

    Returns:
        out.

    Raises:
        TypeError: an array that is not float32 and C-contiguous.
        ValueError: arrays that do not fit each other.
    """
    check_panels(x, "x")
    check_array(x, "x", (weight.inputs // WIDTH, None, WIDTH))
    check_array(out, "out", (weight.outputs // WIDTH, *x.shape[1:]))
    check_array(bias, "bias", (len(bias) and weight.outputs,))
    options = (x, weight.numbers, bias, activate, onto)
    if not weight.is_half:
        from openlrm.ops.host.panels import multiply_panels

        over_rows(lambda first, last: multiply_panels(*options, first, last, out), x)
        return out
    from openlrm.ops.host.bf16 import multiply_pairs

    def work(first: int, last: int) -> None:
        room = scratch_pairs((last - first) * weight.inputs // 2)
        multiply_pairs(*options, first, last, out, room)

    over_rows(work, x)
    return out


def few_rows(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """X W^T of a few rows in float32: (P, K), bits of bfloat16 (N, K) -> (P, N)."""
    from openlrm.ops.host.half_weights import multiply_few

    out = np.empty((len(x), len(weight)), np.float32)
    spread_ranges(lambda first, last: multiply_few(x, weight, first, last, out), len(weight), WIDTH)
    return out


@cache
def _tell_once() -> None:
    _log.warning("this processor has no bfloat16 products (avx512_bf16): they are computed in float32")
