"""Training in half precision: what a product takes is cast, what it gives is float32.

A `ProductCell` casts the inputs and weights of its products, and of attention, through two Cells that are put into it;
residuals, norms, activations, losses and parameters stay float32, and so do the gradients of parameters. Where the
device multiplies in half precision the numbers are so; elsewhere they are rounded to the format and multiplied in
float32: the same products but for an NPU's rounding of results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from openlrm.ops.device import on_ascend


class Cast(nn.Cell):
    """A tensor in half precision, its gradient as well; on a CPU float32 numbers that are rounded to it.

    Args:
        dtype: bfloat16 or float16.
    """

    def __init__(self, dtype: Any):
        super().__init__()
        self.dtype = dtype

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        y = x.astype(self.dtype)
        return y if on_ascend() else y.astype(ms.float32)


class KeptWeights(nn.Cell):
    """`Cast` of parameters that is done once a step, however often they are used; PyNative only.

    Args:
        dtype: bfloat16 or float16.
        weights: the parameters.
    """

    def __init__(self, dtype: Any, weights: Sequence[Parameter]):
        super().__init__()
        self.cast = Cast(dtype)
        # In tuples: as attributes they would be parameters of this Cell.
        self.weights, self.copies = (tuple(weights),), ({},)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """For the length of the block, in which the parameters do not change, have the copies."""
        copies = self.copies[0]
        copies.update({id(weight): ops.stop_gradient(self.cast(weight)) for weight in self.weights[0]})
        try:
            yield
        finally:
            copies.clear()

    def construct(self, weight: Tensor) -> Tensor:
        """Any shape."""
        copy = self.copies[0].get(id(weight))
        return self.cast(weight) if copy is None else copy

    def bprop(self, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        """Gradient of the parameter, float32."""
        return (self.cast(dout).astype(ms.float32),)


class ProductCell(nn.Cell):
    """A Cell with products.

    Attributes:
        products: names of the parameters that are their weights.
        cast_input: what inputs go through, `Cast` or None.
        cast_weight: what weights go through, `Cast`, `KeptWeights` or None.
    """

    products: tuple[str, ...] = ()

    def __init__(self):
        super().__init__()
        self.cast_input = None
        self.cast_weight = None

    def half(self, x: Tensor) -> Tensor:
        """An input as its product takes it."""
        return x if self.cast_input is None else self.cast_input(x)

    def half_weight(self, weight: Tensor) -> Tensor:
        """A weight as its product takes it."""
        return weight if self.cast_weight is None else self.cast_weight(weight)


def product_cells(cell: nn.Cell) -> dict[str, ProductCell]:
    """Cells with products by name, but those that say `in_float32` and what is inside such ones."""
    named = list(cell.cells_and_names())
    apart = tuple(f"{name}." for name, part in named if getattr(part, "in_float32", False))
    return {name: part for name, part in named if isinstance(part, ProductCell) and not f"{name}.".startswith(apart)}


def set_casting(parts: Sequence[nn.Cell], dtype: Any, keep: bool) -> KeptWeights | None:
    """Have the products of a model's parts in half precision from now on.

    Args:
        parts: of a model.
        dtype: bfloat16 or float16.
        keep: whether weights are cast once a step; in graph mode they are cast where they are used, always.

    Returns:
        With `keep`, in PyNative mode, what keeps them.
    """
    cells = [cell for part in parts for cell in product_cells(part).values()]
    weights = [getattr(cell, name, None) for cell in cells for name in cell.products]
    kept = None
    if keep and ms.get_context("mode") == ms.PYNATIVE_MODE:
        kept = KeptWeights(dtype, [weight for weight in weights if weight is not None])
    cast = Cast(dtype)
    for cell in cells:
        cell.cast_input, cell.cast_weight = cast, cast if kept is None else kept
    return kept
