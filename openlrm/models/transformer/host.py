"""The layers on numpy arrays, for inference in PyNative on a CPU: products fused with what surrounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.ops import fused
from openlrm.ops.attention import attend_heads
from openlrm.ops.host import host_array

if TYPE_CHECKING:
    from openlrm.models.transformer.decoder import ModLN, TriplaneLayer

_HEAD = 64


def fits(layer: TriplaneLayer) -> bool:
    """Whether the loops know the layer's sizes: heads of 64, and all widths multiples of 64."""
    cross = layer.cross_attn
    return layer.self_attn.dim == _HEAD * layer.self_attn.heads and cross.context_dim % _HEAD == 0


class HostLayers(nn.Cell):
    """The layers of a `TriplaneTransformer` one after another. No gradient: `set_train(True)` takes the other way."""

    def __init__(self, layers: nn.CellList):
        super().__init__()
        # In a tuple: as a child it would give every parameter a second name.
        self.layers = (layers,)

    def construct(self, tokens: Tensor, features: Tensor, camera: Tensor) -> Tensor:
        """(N, L, dim), (N, K, feature_dim), (N, mod_dim) -> (N, L, dim)."""
        x, features = host_array(tokens).copy(), host_array(features)
        for layer in self.layers[0]:
            norms = [_modulated(norm, camera) for norm in (layer.norm1, layer.norm2, layer.norm3)]
            for sample in range(len(x)):
                _run(layer, x[sample], features[sample], [norm[sample] for norm in norms])
        return Tensor.from_numpy(x)

    def bprop(self, *_: Tensor) -> tuple:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError("the fused layers of inference have no gradient", hint="call set_train(True) on the model")


def _run(layer: TriplaneLayer, x: np.ndarray, features: np.ndarray, norms: list[np.ndarray]) -> None:
    """One layer on one sample: x (L, dim) is changed in place; norms are (2, dim) each."""
    dim, epsilon = layer.self_attn.dim, layer.norm1.norm.eps
    query, key, value = _projections(layer.cross_attn)
    q = fused.norm_product(x, norms[0], epsilon, query)
    k, v = (fused.product(features, weight.T) for weight in (key, value))
    mixed, _ = attend_heads(q[None], k[None], v[None])
    fused.add_product(x, mixed[0], host_array(layer.cross_attn.out_proj.weight))

    qkv = fused.norm_product(x, norms[1], epsilon, host_array(layer.self_attn.in_proj_weight))
    mixed, _ = attend_heads(*(qkv[None, :, start : start + dim] for start in range(0, 3 * dim, dim)))
    fused.add_product(x, mixed[0], host_array(layer.self_attn.out_proj.weight))

    first, last = layer.mlp[0], layer.mlp[3]
    hidden = fused.norm_product(x, norms[2], epsilon, *map(host_array, (first.weight, first.bias)), activate=True)
    fused.add_product(x, hidden, *map(host_array, (last.weight, last.bias)))


def _projections(attention) -> tuple[np.ndarray, ...]:
    """Weights of queries, keys and values."""
    if attention.packed:
        return tuple(np.split(host_array(attention.in_proj_weight), 3))
    return tuple(map(host_array, (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)))


def _modulated(norm: ModLN, camera: Tensor) -> np.ndarray:
    """Gain and offset (N, 2, dim): LN(x) (1 + scale) + shift is again a LayerNorm."""
    shift, scale = np.split(host_array(norm.mlp(camera)), 2, axis=1)
    weight, bias = host_array(norm.norm.weight), host_array(norm.norm.bias)
    return np.stack([weight * (1 + scale), bias * (1 + scale) + shift], axis=1)
