"""The layers on numpy arrays, for inference in PyNative on a CPU: products fused with what surrounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mindspore import Tensor, nn

from openlrm.ops import fused
from openlrm.ops.fused import WIDTH, InferenceOnly
from openlrm.ops.host.arrays import host_array

if TYPE_CHECKING:
    from openlrm.nn.transformer.decoder import ModLN, TriplaneLayer
    from openlrm.ops import LayerNorm


def fits(layer: TriplaneLayer) -> bool:
    """Whether the loops know the layer's sizes: heads of 64, and all widths multiples of 64."""
    cross = layer.cross_attn
    return layer.self_attn.dim == WIDTH * layer.self_attn.heads and cross.context_dim % WIDTH == 0


class HostLayers(InferenceOnly):
    """The layers of a `TriplaneTransformer` one after another. `set_train(True)` takes the differentiable ones."""

    def __init__(self, layers: nn.CellList):
        super().__init__()
        # In a tuple: as a child it would give every parameter a second name.
        self.layers = (layers,)

    def construct(self, tokens: Tensor, features: Tensor, camera: Tensor | None = None) -> Tensor:
        """(N, L, dim), (N, K, feature_dim) and, where norms are modulated, (N, mod_dim) -> (N, L, dim)."""
        tokens, features = map(host_array, (tokens, features))
        active = None if camera is None else fused.silu(host_array(camera))
        length, keys = tokens.shape[1], features.shape[1]
        samples, contexts = [fused.to_panels(x) for x in tokens], [fused.to_panels(x) for x in features]
        room = fused.panels(5 * tokens.shape[2], length)
        for layer in self.layers[0]:
            norms = [_norm(norm, active, len(samples)) for norm in (layer.norm1, layer.norm2, layer.norm3)]
            for index, (x, context) in enumerate(zip(samples, contexts, strict=True)):
                _run(layer, x, length, context, keys, [norm[index] for norm in norms], room)
        return Tensor.from_numpy(np.stack([fused.to_rows(x, length) for x in samples]))


def _run(layer: TriplaneLayer, x, length: int, context, keys: int, norms: list[np.ndarray], room) -> None:
    """One layer on one sample.

    Args:
        layer: whose weights.
        x: (dim / 64, P, 64) panels of the tokens, changed in place.
        length: tokens, at most P.
        context: (feature_dim / 64, P', 64) panels of the features.
        keys: features, at most P'.
        norms: gain and offset (2, dim) of each of the three norms.
        room: (5 dim / 64, P, 64), scratch.
    """
    epsilon, heads = layer.eps, len(x)
    narrow, wide = room[:heads], room[heads:]
    query, key, value = _projections(layer.cross_attn)
    q = fused.product(fused.normed(x, norms[0], epsilon, narrow), query, wide[:heads])
    k, v = (fused.product(context, weight, fused.panels(len(weight), keys)) for weight in (key, value))
    fused.add_product(x, fused.attend(q, k, v, keys, narrow), _output(layer.cross_attn))

    weight = host_array(layer.self_attn.in_proj_weight)
    qkv = fused.product(fused.normed(x, norms[1], epsilon, narrow), weight, wide[: 3 * heads])
    mixed = fused.attend(*np.split(qkv, 3), length, narrow)
    fused.add_product(x, mixed, _output(layer.self_attn))

    first, last = layer.mlp[0], layer.mlp[3]
    weight, bias = map(host_array, (first.weight, first.bias))
    hidden = fused.product(fused.normed(x, norms[2], epsilon, narrow), weight, wide, bias, activate=True)
    fused.add_product(x, hidden, *map(host_array, (last.weight, last.bias)))


def _projections(attention) -> tuple[np.ndarray, ...]:
    """Weights of queries, keys and values."""
    if attention.packed:
        return tuple(np.split(host_array(attention.in_proj_weight), 3))
    return tuple(map(host_array, (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)))


def _output(attention) -> np.ndarray:
    """Weight of the output projection, with its adapter."""
    weight = host_array(attention.out_proj.weight)
    return weight if attention.adapter is None else attention.adapter.host_weight(weight)


def _norm(norm: ModLN | LayerNorm, active: np.ndarray | None, samples: int) -> np.ndarray:
    """Gain and offset (N, 2, dim) of a norm, the modulation of SiLU(c) (N, mod_dim) in them if there is one."""
    if active is None:
        return np.broadcast_to([host_array(norm.weight), host_array(norm.bias)], (samples, 2, *norm.weight.shape))
    modulation = fused.small_product(active, *map(host_array, (norm.mlp[1].weight, norm.mlp[1].bias)))
    return fused.modulated(*map(host_array, (norm.norm.weight, norm.norm.bias)), *np.split(modulation, 2, axis=1))
