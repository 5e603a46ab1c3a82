"""What products are computed in: float32, or bfloat16 with float32 sums.

A model in bfloat16 keeps the weights of its products as bfloat16 parameters, whose names stay; every other number is
float32. What a Cell multiplies with such weights is rounded to bfloat16 as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, nn

from openlrm.errors import UserError
from openlrm.ops.device import fuses_layers, on_ascend
from openlrm.ops.half import has_half_products
from openlrm.ops.host.sizes import WIDTH
from openlrm.utils.logging import get_logger

_log = get_logger(__name__)

PRECISIONS = ("auto", "fp32", "bf16")
"""What `precision` may be; auto is float32 on a CPU and bfloat16 on an Ascend NPU."""


def product_weights(cell: nn.Cell) -> dict[str, tuple[nn.Cell, str]]:
    """Where weights of products are, by name: those of matrices whose widths are multiples of 64."""
    found = {}
    for name, part in cell.cells_and_names():
        for attribute in getattr(part, "products", ()):
            weight = getattr(part, attribute, None)
            if weight is not None and weight.ndim == 2 and not any(width % WIDTH for width in weight.shape):
                found[f"{name}.{attribute}" if name else attribute] = part, attribute
    return found


def set_precision(parts: Sequence[nn.Cell], precision: str = "auto") -> str:
    """Choose what products of inference are computed in, and keep their weights in that format.

    On a CPU bfloat16 needs avx512_bf16 and PyNative mode; elsewhere it would be many times slower: products stay in
    float32 and the log says so.

    Args:
        parts: of a model that may be in bfloat16; none for a family that has none.
        precision: of `PRECISIONS`.

    Returns:
        "fp32" or "bf16", which is used.

    Raises:
        UserError: another word.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision} is not known", hint=f"use one of {', '.join(PRECISIONS)}")
    if precision == "fp32" or (precision == "auto" and not on_ascend()):
        return "fp32"
    places = [place for part in parts for place in product_weights(part).values()]
    if reason := _obstacle(places):
        if precision != "auto":
            _log.warning("precision=bf16: %s; float32 is used", reason)
        return "fp32"
    for cell, attribute in places:
        weight = getattr(cell, attribute)
        half = Parameter(weight.astype(ms.bfloat16), weight.name, weight.requires_grad)
        setattr(cell, attribute, half)
    return "bf16"


def _obstacle(places: Sequence) -> str:
    """Why bfloat16 cannot be used, or nothing."""
    if not places:
        return "this model has no products of such widths"
    if on_ascend():
        return ""
    if not fuses_layers():
        return "on a CPU it needs mode=1 (PyNative)"
    return "" if has_half_products() else "this processor lacks avx512_bf16"
