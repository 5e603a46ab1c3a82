"""First weights for a model that starts from nothing, so that its input matters from the first step.

The released recipe starts from a trained encoder and takes millions of objects. From nothing, on few objects, its
first weights leave the picture without influence: exchanging pictures changes the rendered colours by less than
1e-4, noise drowns that, and the model settles on one shape for every input. The places that lose the signal are put
right here without touching the architecture:

- patches: a white background is the largest number in a picture. The bias takes it off, so that white embeds to zero
  and an object stands out;
- positions: drawn with 0.02 beside contents of 0.5, and tokens with 1 / sqrt(dim) beside attention outputs of size
  one. Sine-cosine tables instead, for both in the same units: where a token of a plane appears in the picture of the
  default camera, with the part left out that the plane does not know;
- cross-attention: an encoder that starts too and is as wide as the transformer lets queries and keys start as one
  permutation. A token then looks at the patches that it may appear in, instead of having to find them first, and
  values reach it undiminished;
- decoder: three layers that each shrink their input to 0.4 of it. He's bounds keep it, and a density a little lower
  than zero's keeps the field from starting as fog.

docs/experiments.md has the measurements.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor

from openlrm.cameras.conventions import DEFAULT_FOCAL
from openlrm.families.lrm import ModelLRM
from openlrm.nn.transformer import MultiHeadAttention

# White embeds to zero and black to about 0.7: 588 inputs with this spread.
_PATCH_SPREAD = 0.04
# Positions of patches, so that contents do not drown them in the encoder's last norm.
_POSITION_SIZE = 1.5
# Of queries: attention falls to a tenth from a patch to the next.
_SHARPNESS = 3.0
_DISTANCE = 2.2
_FIRST_DENSITY = -1.0
# Wavelengths of the tables, in patches.
_SHORTEST, _LONGEST = 4.0, 64.0


def strong_start(model: ModelLRM, seed: int, encoder: bool) -> None:
    """Replace the first weights.

    Args:
        model: just made.
        seed: of the draws.
        encoder: whether its encoder starts from nothing too; one with loaded weights is left alone.
    """
    random = np.random.default_rng(seed)
    vit, config = model.encoder.model, model.config
    if encoder:
        projection = vit.patch_embed.proj
        weight = random.standard_normal(projection.weight.shape) * _PATCH_SPREAD
        _set(projection.weight, weight)
        _set(projection.bias, -weight.sum(axis=(1, 2, 3)))
        _, _, width = vit.pos_embed.shape
        positions = np.concatenate([np.zeros((1, width)), _POSITION_SIZE * patch_table(vit.grid, width)])
        _set(vit.pos_embed, positions[None])
        if width == config.transformer_dim:
            for layer in model.transformer.layers:
                _look_where_it_appears(layer.cross_attn, random)
    _set(model.pos_embed, token_table(config.triplane_low_res, vit.grid, config.transformer_dim)[None])
    layers = [cell for cell in model.synthesizer.decoder.net if hasattr(cell, "weight")]
    for layer in layers:
        # He: variance 2 / inputs before a ReLU, 1 / inputs at the output.
        variance = (1 if layer is layers[-1] else 2) / layer.in_features
        bound = np.sqrt(3 * variance)
        _set(layer.weight, random.uniform(-bound, bound, layer.weight.shape))
    bias = np.zeros(layers[-1].bias.shape)
    bias[0] = _FIRST_DENSITY
    _set(layers[-1].bias, bias)


def patch_table(grid: int, width: int) -> np.ndarray:
    """Positions of the patches of a picture: (grid^2, width), rows first; the part of the depth is zero."""
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    return _table(width, row=rows, column=columns)


def token_table(side: int, grid: int, width: int) -> np.ndarray:
    """Positions of the triplane tokens as the default camera sees them: (3 side^2, width), in patches.

    The planes and their axes are those of `openlrm.representations.triplane`: (y, x), (z, x) and (y, z), rows first.

    Args:
        side: tokens along a plane.
        grid: patches along the picture.
        width: of a token.
    """
    first, second = np.divmod(np.arange(side * side), side)
    offset = grid / 2 - 0.5
    scale = grid * DEFAULT_FOCAL / _DISTANCE
    first, second = (scale * ((2 * index + 1) / side - 1) for index in (first, second))
    planes = [
        _table(width, column=offset + second, depth=first),
        _table(width, row=offset - first, column=offset + second),
        _table(width, row=offset - second, depth=first),
    ]
    return np.concatenate(planes)


def _table(width: int, **known: np.ndarray) -> np.ndarray:
    """Sine-cosine waves (Vaswani et al., 2017) of up to three coordinates, a third of the width each."""
    pairs = width // 6
    frequencies = 2 * np.pi / _SHORTEST * (_SHORTEST / _LONGEST) ** (np.arange(pairs) / max(pairs - 1, 1))
    parts = []
    for name in ("row", "column", "depth"):
        angles = np.asarray(known.get(name, 0.0))[..., None] * frequencies
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, 2 * pairs)
        parts.append(waves if name in known else np.zeros((len(next(iter(known.values()))), 2 * pairs)))
    table = np.concatenate(parts, axis=1)
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _look_where_it_appears(attention: MultiHeadAttention, random: np.random.Generator) -> None:
    """Let the scores of cross-attention begin as the likeness of positions, and hand values on at their size."""
    dim = attention.dim
    # Every head gets waves of each length: a sine stays with its cosine.
    pairs = sorted(range(dim // 2), key=lambda pair: pair % attention.heads)
    order = (2 * np.array(pairs)[:, None] + [0, 1]).reshape(-1)
    pick = np.eye(dim)[order]
    bound = np.sqrt(3 / dim)
    values = random.uniform(-bound, bound, (dim, dim))
    _set(attention.in_proj_weight, np.concatenate([_SHARPNESS * pick, pick, values]))
    _set(attention.out_proj.weight, random.uniform(-bound, bound, (dim, dim)))


def _set(parameter: Parameter, value: np.ndarray) -> None:
    parameter.set_data(Tensor(np.ascontiguousarray(value, np.float32)))
