"""First weights for a model that starts from nothing, so that its input matters from the first step.

The released recipe starts from a trained encoder and takes millions of objects. From nothing, on few objects, its
first weights leave the picture without influence: exchanging pictures changes the rendered colours by less than
1e-4, noise drowns that, and the model settles on one shape for every input. Four places lose the signal, each put
right here without touching the architecture:

- patches: a white background is the largest number in a picture. The bias takes it off, so that white embeds to zero
  and an object stands out;
- positions of patches: drawn with 0.02 beside contents of 0.5. A sine-cosine table of size one instead;
- triplane tokens: 1 / sqrt(dim) beside attention outputs of size one, so that after a layer all tokens are alike.
  A sine-cosine table per plane, plus an offset of its own for each plane;
- decoder: three layers that each shrink their input to 0.4 of it. He's bounds keep it, and a density a little lower
  than zero's keeps the field from starting as fog.

docs/experiments.md has the measurements.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor

from openlrm.models.lrm import ModelLRM

# White embeds to zero and black to about one: 588 inputs with this spread.
_PATCH_SPREAD = 0.06
_FIRST_DENSITY = -1.0
_PLANE_OFFSET = 0.7


def strong_start(model: ModelLRM, seed: int, encoder: bool) -> None:
    """Replace the first weights.

    Args:
        model: just made.
        seed: of the draws.
        encoder: whether its encoder starts from nothing too; one with loaded weights is left alone.
    """
    random = np.random.default_rng(seed)
    if encoder:
        vit = model.encoder.model
        projection = vit.patch_embed.proj
        weight = random.standard_normal(projection.weight.shape) * _PATCH_SPREAD
        _set(projection.weight, weight)
        _set(projection.bias, -weight.sum(axis=(1, 2, 3)))
        _, _, dim = vit.pos_embed.shape
        positions = np.concatenate([np.zeros((1, dim)), sine_cosine_table(vit.grid, dim)])
        _set(vit.pos_embed, positions[None])
    side, dim = model.config.triplane_low_res, model.config.transformer_dim
    offsets = random.standard_normal((3, 1, dim)) * _PLANE_OFFSET
    _set(model.pos_embed, (sine_cosine_table(side, dim) + offsets).reshape(1, 3 * side * side, dim))
    layers = [cell for cell in model.synthesizer.decoder.net if hasattr(cell, "weight")]
    for layer in layers:
        # He: variance 2 / inputs before a ReLU, 1 / inputs at the output.
        variance = (1 if layer is layers[-1] else 2) / layer.in_features
        bound = np.sqrt(3 * variance)
        _set(layer.weight, random.uniform(-bound, bound, layer.weight.shape))
    bias = np.zeros(layers[-1].bias.shape)
    bias[0] = _FIRST_DENSITY
    _set(layers[-1].bias, bias)


def sine_cosine_table(side: int, dim: int) -> np.ndarray:
    """Positions of a square grid (Vaswani et al., 2017, in two dimensions): (side^2, dim), rows first.

    A quarter of the width each for sine and cosine of row and column, wavelengths from 2 pi to 200 pi cells; a rest
    of the width is zero.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    quarter = dim // 4
    frequencies = 100.0 ** (-np.arange(quarter) / quarter)
    waves = [wave(axis[:, None] * frequencies) for axis in (rows, columns) for wave in (np.sin, np.cos)]
    return np.pad(np.concatenate(waves, axis=1), ((0, 0), (0, dim - 4 * quarter)))


def _set(parameter: Parameter, value: np.ndarray) -> None:
    parameter.set_data(Tensor(np.ascontiguousarray(value, np.float32)))
