"""A Vision Transformer's blocks on numpy arrays, for features without a gradient in PyNative on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mindspore import Parameter, Tensor, nn

from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.ops import fused
from openlrm.ops.fused import WIDTH, InferenceOnly
from openlrm.ops.host.arrays import host_array, weight_array

if TYPE_CHECKING:
    from openlrm.nn.encoders.vit import Block


def fits(spec: EncoderSpec) -> bool:
    """Whether the loops know the sizes: heads of 64 and an MLP that is not gated."""
    return spec.embed_dim == WIDTH * spec.num_heads and spec.ffn_layer == "mlp"


class HostBlocks(InferenceOnly):
    """The blocks of a `VisionTransformer` one after another."""

    def __init__(self, blocks: nn.CellList):
        super().__init__()
        # In a tuple: as a child it would give every parameter a second name.
        self.blocks = (blocks,)

    def construct(self, tokens: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        tokens = host_array(tokens)
        samples = [fused.to_panels(x) for x in tokens]
        room = fused.panels(5 * tokens.shape[2], tokens.shape[1])
        for block in self.blocks[0]:
            for x in samples:
                _run(block, x, tokens.shape[1], room)
        return Tensor.from_numpy(np.stack([fused.to_rows(x, tokens.shape[1]) for x in samples]))


def _run(block: Block, x: np.ndarray, length: int, room: np.ndarray) -> None:
    """One block on one sample.

    Args:
        block: whose weights.
        x: (dim / 64, P, 64) panels of the tokens, changed in place.
        length: tokens, at most P.
        room: (5 dim / 64, P, 64), scratch.
    """
    attention, mlp, heads = block.attn, block.mlp, len(x)
    narrow, wide = room[:heads], room[heads:]
    weight, bias = _arrays(attention.qkv)
    qkv = fused.product(fused.normed(x, *_norm(block.norm1), narrow), weight, wide[: 3 * heads], bias)
    mixed = fused.attend(*np.split(qkv, 3), length, narrow, half=weight.dtype == np.uint16)
    fused.add_product(x, mixed, *_arrays(attention.proj), _gains(block.ls1))
    weight, bias = _arrays(mlp.fc1)
    hidden = fused.product(fused.normed(x, *_norm(block.norm2), narrow), weight, wide, bias, activate=True)
    fused.add_product(x, hidden, *_arrays(mlp.fc2), _gains(block.ls2))


def _norm(norm: nn.Cell) -> tuple[np.ndarray, float]:
    """Gain and offset (2, dim), epsilon."""
    return np.stack([host_array(norm.weight), host_array(norm.bias)]), norm.eps


def _arrays(layer: nn.Cell) -> tuple[np.ndarray, np.ndarray]:
    return weight_array(layer.weight), host_array(layer.bias)


def _gains(scale: nn.Cell) -> np.ndarray:
    """Of the LayerScale behind a product; none if there is none."""
    gamma = getattr(scale, "gamma", None)
    return host_array(gamma) if isinstance(gamma, Parameter) else fused.NO_BIAS
