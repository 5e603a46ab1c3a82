"""Low-rank adapters on attention outputs (LoRA, Hu et al., 2022): few trained numbers beside frozen weights.

The output projection y = W z has no bias, so an adapter on the output, y + s B A y, is an ordinary adapter of W with
A' = A W: y + s B A' z. Trained adapters are of the first form ("output"), which needs no gradient of W; files are of
the second ("input"), which every tool reads. s = alpha / rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np
from mindspore import Parameter, Tensor, nn

from openlrm.errors import UserError
from openlrm.nn.transformer.attention import MultiHeadAttention
from openlrm.ops import linear, project_output
from openlrm.ops.host.arrays import host_array

OUTPUTS = "*.out_proj"
"""Name pattern of every attention output projection."""

_PLACEMENTS = ("output", "input")
_INITIAL_STD = 0.01


class LoRA(nn.Cell):
    """Adapter of one attention's output.

    Args:
        a: A (r, d).
        b: B (d, r).
        alpha: the strength is alpha / r.
        placement: what A is applied to: "output", the projected y, or "input", the mixed values z before it.

    Attributes:
        lora_A: parameter A.
        lora_B: parameter B.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, alpha: float, placement: str = "output"):
        super().__init__()
        self.rank, self.dim = a.shape
        self.alpha, self.scale, self.placement = alpha, alpha / self.rank, placement
        self.lora_A = Parameter(Tensor(np.array(a, np.float32)), name="lora_A")
        self.lora_B = Parameter(Tensor(np.array(b, np.float32)), name="lora_B")

    def construct(self, mixed: Tensor, y: Tensor) -> Tensor:
        """Adapted output.

        Args:
            mixed: z, an `openlrm.ops.attention` result.
            y: (N, L, d), its projection.

        Returns:
            (N, L, d). With B = 0 it is y, bit by bit.
        """
        n, length, dim = y.shape
        if self.placement == "input":
            inner = project_output(mixed, self.lora_A).reshape(n * length, self.rank)
        else:
            inner = linear(y.reshape(n * length, dim), self.lora_A)
        return y + linear(inner, self.lora_B).reshape(n, length, dim) * self.scale

    def standard_matrices(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The adapter in standard form, W + s B A'.

        Args:
            weight: W (d, d) of the output projection.

        Returns:
            A' (r, d) and B (d, r), float64.
        """
        a, b = (p.asnumpy().astype(np.float64) for p in (self.lora_A, self.lora_B))
        return (a @ weight.astype(np.float64) if self.placement == "output" else a), b

    def merged_weight(self, weight: np.ndarray) -> np.ndarray:
        """W + s B A' (d, d) float32; with B = 0 it is W, bit by bit. The sum is in float64."""
        a, b = self.standard_matrices(weight)
        return (weight + self.scale * (b @ a)).astype(np.float32)

    def host_weight(self, weight: np.ndarray) -> np.ndarray:
        """The same in float32 for the fused layers of inference, without BLAS, whose threads spin after it."""
        a, b = host_array(self.lora_A), host_array(self.lora_B)
        if self.placement == "output":
            a = np.einsum("rk,kd->rd", a, weight)
        return weight + np.float32(self.scale) * np.einsum("dr,rk->dk", b, a)


def attention_outputs(model: nn.Cell, pattern: str = OUTPUTS) -> dict[str, MultiHeadAttention]:
    """Attentions of a model by the name of their output projection.

    Args:
        model: any Cell that holds `MultiHeadAttention`.
        pattern: shell pattern of the names, such as "transformer.layers.0.*".

    Returns:
        `transformer.layers.0.cross_attn.out_proj` and the like -> attention, in the model's order.
    """
    named = ((f"{name}.out_proj", cell) for name, cell in model.cells_and_names())
    return {name: cell for name, cell in named if isinstance(cell, MultiHeadAttention) and fnmatchcase(name, pattern)}


def adapters_of(model: nn.Cell) -> dict[str, LoRA]:
    """Adapters that are attached, by the name of the output projection."""
    return {name: cell.adapter for name, cell in attention_outputs(model).items() if cell.adapter is not None}


def attach_new(
    model: nn.Cell, rank: int, alpha: float | None = None, seed: int = 0, pattern: str = OUTPUTS
) -> dict[str, LoRA]:
    """Attach fresh adapters: A ~ N(0, 0.01^2), B = 0, so the model's answers do not change.

    Args:
        model: gets an adapter on each attention output.
        rank: r, from 1 to the width.
        alpha: strength times rank; 2 r without it.
        seed: of A; the same seed, the same A.
        pattern: which outputs, see `attention_outputs`.

    Returns:
        The adapters by name.

    Raises:
        UserError: a rank that does not fit, no output of that name, or a model that has an adapter.
    """
    outputs = attention_outputs(model, pattern)
    if not outputs:
        raise UserError(f"no attention output is called {pattern}", hint=f"use {OUTPUTS} for all")
    random, matrices = np.random.default_rng(seed), {}
    for name, attention in outputs.items():
        check_rank(rank, attention.dim)
        a = _INITIAL_STD * random.standard_normal((rank, attention.dim))
        matrices[name] = (a, np.zeros((attention.dim, rank)))
    return attach(model, matrices, 2 * rank if alpha is None else alpha)


def attach(
    model: nn.Cell, matrices: Mapping[str, tuple[np.ndarray, np.ndarray]], alpha: float, placement: str = "output"
) -> dict[str, LoRA]:
    """Attach adapters with given numbers.

    Args:
        model: gets the adapters; all of them or, on an error, none.
        matrices: name of an output projection -> A (r, d) and B (d, r).
        alpha: strength times rank.
        placement: see `LoRA`.

    Returns:
        The adapters by name.

    Raises:
        UserError: a model that has an adapter, an output it does not have, or matrices of another width.
    """
    if placement not in _PLACEMENTS:
        raise ValueError(f"placement {placement!r} is none of {_PLACEMENTS}")
    if adapters_of(model):
        raise UserError("the model has an adapter already", hint="merge it or take it off first: one at a time")
    outputs = attention_outputs(model)
    for name, (a, b) in matrices.items():
        if name not in outputs:
            raise UserError(f"the model has no attention output {name}", hint="adapters go onto out_proj alone")
        dim = outputs[name].dim
        if a.shape[1:] != (dim,) or b.shape != a.shape[::-1]:
            what = f"A {a.shape} and B {b.shape} of {name} do not fit its width {dim}"
            raise UserError(what, hint="the adapter belongs to another model")
        check_rank(a.shape[0], dim)
    for name, (a, b) in matrices.items():
        outputs[name].adapter = LoRA(a, b, alpha, placement)
        for parameter in outputs[name].adapter.get_parameters():
            parameter.name = f"{name.removesuffix('.out_proj')}.adapter.{parameter.name.rpartition('.')[2]}"
    forget_graphs(model)
    return {name: outputs[name].adapter for name in matrices}


def check_rank(rank: int, width: int) -> None:
    """Refuse a rank that no matrix of this width has.

    Raises:
        UserError: it is not from 1 to the width.
    """
    if not 1 <= rank <= width:
        raise UserError(f"rank={rank} of an adapter on outputs {width} wide", hint=f"use a rank from 1 to {width}")


def detach(model: nn.Cell) -> None:
    """Take the adapters off; the base weights are as they were."""
    for attention in attention_outputs(model).values():
        if attention.adapter is not None:
            del attention.adapter
            attention.adapter = None
    forget_graphs(model)


def merge(model: nn.Cell) -> None:
    """Put the adapters into the output projections and take them off.

    Raises:
        UserError: there is none.
    """
    adapters = adapters_of(model)
    if not adapters:
        raise UserError("the model has no adapter to merge")
    outputs = attention_outputs(model)
    for name, adapter in adapters.items():
        weight = outputs[name].out_proj.weight
        weight.set_data(Tensor(adapter.merged_weight(weight.asnumpy())))
    detach(model)


def freeze_base(model: nn.Cell) -> None:
    """Let the adapters alone get a gradient."""
    trained = {id(p) for adapter in adapters_of(model).values() for p in adapter.get_parameters()}
    for parameter in model.get_parameters():
        parameter.requires_grad = id(parameter) in trained


def count_adapter(model: nn.Cell) -> int:
    """Numbers in the adapters: 2 r d for each."""
    return sum(p.size for adapter in adapters_of(model).values() for p in adapter.get_parameters())


def base_parameters(model: nn.Cell) -> dict[str, Parameter]:
    """Parameters without those of adapters, by their place in the model."""
    adapters = {id(p) for adapter in adapters_of(model).values() for p in adapter.get_parameters()}
    return {name: p for name, p in model.parameters_and_names() if id(p) not in adapters}


def forget_graphs(model: nn.Cell) -> None:
    """Have graphs compiled anew: those there are do not know that layers came or went."""
    for _, cell in model.cells_and_names():
        cell.compile_cache.clear()
