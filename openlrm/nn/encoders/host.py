"""A Vision Transformer's blocks on numpy arrays, for features without a gradient in PyNative on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mindspore import Parameter, Tensor, nn

from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.ops import fused
from openlrm.ops.fused import WIDTH, InferenceOnly
from openlrm.ops.host.arrays import host_array

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

    def construct(self, tokens: Tensor, camera: Tensor | None = None) -> Tensor:
        """(N, L, dim) and, where the blocks are modulated, (N, dim) -> (N, L, dim)."""
        tokens = host_array(tokens)
        active = None if camera is None else fused.silu(host_array(camera))
        samples = [fused.to_panels(x) for x in tokens]
        room = fused.panels(5 * tokens.shape[2], tokens.shape[1])
        for block in self.blocks[0]:
            for x, norms in zip(samples, _norms(block, active, len(samples)), strict=True):
                _run(block, x, tokens.shape[1], norms, room)
        return Tensor.from_numpy(np.stack([fused.to_rows(x, tokens.shape[1]) for x in samples]))


def _run(block: Block, x: np.ndarray, length: int, norms: np.ndarray, room: np.ndarray) -> None:
    """One block on one sample.

    Args:
        block: whose weights.
        x: (dim / 64, P, 64) panels of the tokens, changed in place.
        length: tokens, at most P.
        norms: (2, 2, dim) gain and offset of both norms.
        room: (5 dim / 64, P, 64), scratch.
    """
    attention, mlp, heads = block.attn, block.mlp, len(x)
    narrow, wide = room[:heads], room[heads:]
    weight, bias = _arrays(attention.qkv)
    qkv = fused.product(fused.normed(x, norms[0], block.norm1.eps, narrow), weight, wide[: 3 * heads], bias)
    mixed = fused.attend(*np.split(qkv, 3), length, narrow)
    fused.add_product(x, mixed, *_scaled(block.ls1, *_arrays(attention.proj)))
    weight, bias = _arrays(mlp.fc1)
    hidden = fused.product(fused.normed(x, norms[1], block.norm2.eps, narrow), weight, wide, bias, activate=True)
    fused.add_product(x, hidden, *_scaled(block.ls2, *_arrays(mlp.fc2)))


def _norms(block: Block, active: np.ndarray | None, samples: int) -> np.ndarray:
    """Gain and offset of both norms for each sample (N, 2, 2, dim), the modulation of SiLU(c) (N, dim) in them."""
    norms = [np.stack(_arrays(norm)) for norm in (block.norm1, block.norm2)]
    if active is None:
        return np.broadcast_to(norms, (samples, *np.shape(norms)))
    shift1, scale1, shift2, scale2 = np.split(
        fused.small_product(active, *_arrays(block.adaLN_modulation[1])), 4, axis=1
    )
    return np.stack([fused.modulated(*norms[0], shift1, scale1), fused.modulated(*norms[1], shift2, scale2)], axis=1)


def _arrays(layer: nn.Cell) -> tuple[np.ndarray, np.ndarray]:
    return host_array(layer.weight), host_array(layer.bias)


def _scaled(scale: nn.Cell, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A product's weight and bias with the LayerScale behind it, if there is one."""
    gamma = getattr(scale, "gamma", None)
    if not isinstance(gamma, Parameter):
        return weight, bias
    gamma = host_array(gamma)
    return gamma[:, None] * weight, gamma * bias
