"""Parameter names of InstantMesh in other programs, and the start of the second model from the first.

Ours are the released ones without `lrm_generator.`, but for the encoder, which is called as every encoder here.
"""

from __future__ import annotations

import numpy as np

from openlrm.checkpoint.names import Tensors, encoder_to_vit, plain_names
from openlrm.errors import UserError

PREFIX = "lrm_generator."
_HEADS = "synthesizer.decoder."
_VOLUME = f"{_HEADS}net."
_LAST = 6


def from_checkpoint(tensors: Tensors, expected: set[str]) -> Tensors:
    """Names of any checkpoint of an InstantMesh -> ours.

    Of a file that holds more than the model (the released ones carry the loss network beside it), only what is under
    `lrm_generator.` is taken.
    """
    inner = {name: value for name, value in tensors.items() if name.startswith(PREFIX)}
    return plain_names(inner or tensors, expected)


def to_release(tensors: Tensors) -> Tensors:
    """Our names -> the released ones, without `lrm_generator.`."""
    return encoder_to_vit(tensors)


def surface_start(tensors: Tensors, fresh: Tensors, level: float) -> Tensors:
    """Weights that a mesh model starts from, of a trained volume model.

    Distances and colours take the hidden layers of the decoder; the surface begins where raw density is `level`.

    Args:
        tensors: all of the volume model, by our names.
        fresh: of the mesh model as it was initialised; its other heads stay so.
        level: raw density, before softplus(. - 1), of the surface. Published: 10, which small models never reach.

    Raises:
        UserError: not the weights of a volume model.
    """
    if f"{_VOLUME}{_LAST}.weight" not in tensors:
        raise UserError("not the weights of a volume model (stage 1): they have no density", hint="give a nerf model")
    out = {name: value for name, value in tensors.items() if not name.startswith(_VOLUME)}
    for head, rows, sign, shift in (("net_sdf", slice(0, 1), -1, level), ("net_rgb", slice(1, 4), 1, 0)):
        for index in (0, 2, 4):
            for kind in ("weight", "bias"):
                out[f"{_HEADS}{head}.{index}.{kind}"] = tensors[f"{_VOLUME}{index}.{kind}"]
        last = {kind: tensors[f"{_VOLUME}{_LAST}.{kind}"][rows] for kind in ("weight", "bias")}
        out[f"{_HEADS}{head}.{_LAST}.weight"] = sign * last["weight"]
        out[f"{_HEADS}{head}.{_LAST}.bias"] = (shift + sign * last["bias"]).astype(np.float32)
    kept = (f"{_HEADS}net_deformation.", f"{_HEADS}net_weight.")
    return out | {name: value for name, value in fresh.items() if name.startswith(kept)}
