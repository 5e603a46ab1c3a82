"""A triplane and its decoder as the compiled loops want them, and gradients back in the framework's layout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openlrm.ops.host.arrays import aligned_array
from openlrm.ops.host.sizes import WIDTH

HIDDEN = WIDTH
"""Width of the decoder's hidden layers."""
DECODER_NAMES = tuple(f"net.{layer}.{kind}" for layer in (0, 2, 4, 6) for kind in ("weight", "bias"))
"""Weights of the field's decoder, weights (out, in) and biases (out,)."""


class Field(NamedTuple):
    """A triplane and its decoder, laid out for the kernels; all float32, C-contiguous.

    Attributes:
        side: texels a side of a plane in its ring of zero texels, H + 2.
        table: (3 * side * side * HIDDEN,) planes times the decoder's first layer, channel-last, in that ring.
        bias: (HIDDEN,) of the first layer.
        weight1: (HIDDEN * HIDDEN,), input-major.
        bias1: (HIDDEN,).
        weight2: as weight1.
        bias2: (HIDDEN,).
        head: (4, HIDDEN), raw density and the colours' logits.
        head_bias: (4,).
        occupied: (G, G, G) uint8, cells of the cube by x, y, z that may hold density worth seeing; (1, 1, 1) of one
            where nothing is known.
    """

    side: int
    table: np.ndarray
    bias: np.ndarray
    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    occupied: np.ndarray


class FieldGradient(NamedTuple):
    """Sums of the gradients of a `Field`, laid out as it is."""

    table: np.ndarray
    bias: np.ndarray
    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray


def lay_out(planes: np.ndarray, decoder: dict[str, np.ndarray]) -> Field:
    """Fold the decoder's first layer into the planes: bilinear sampling is linear, so the two commute.

    Args:
        planes: (3, C, H, H) float32.
        decoder: by `DECODER_NAMES`.

    Raises:
        ValueError: planes that are not square, a decoder of other layers, or two that do not fit each other.
    """
    _, channels, height, width = planes.shape
    first = decoder["net.0.weight"]
    expected = (HIDDEN, 3 * channels)
    if height != width or first.shape != expected:
        raise ValueError(f"planes {planes.shape} do not fit a first layer {first.shape}, expected {expected}")
    # The loops look at no shape: they would read beyond the end.
    hidden = [(HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (4, HIDDEN), (4,)]
    for name, shape in zip(DECODER_NAMES[1:], hidden, strict=True):
        if decoder[name].shape != shape:
            raise ValueError(f"{name} has shape {decoder[name].shape}, expected {shape}")
    folded = _texels(planes) @ _per_plane(first).transpose(0, 2, 1)
    table = np.pad(folded.reshape(3, height, width, -1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    arrays = [
        table.reshape(-1),
        decoder["net.0.bias"],
        decoder["net.2.weight"].T.reshape(-1),
        decoder["net.2.bias"],
        decoder["net.4.weight"].T.reshape(-1),
        decoder["net.4.bias"],
        decoder["net.6.weight"],
        decoder["net.6.bias"],
    ]
    return Field(height + 2, *map(_aligned, arrays), np.ones((1, 1, 1), np.uint8))


def unfold(sums: FieldGradient, planes: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gradients of planes (3, C, H, H) and of the decoder's weights, in the order of `DECODER_NAMES`.

    Args:
        sums: as the loops left them.
        planes: (3, C, H, H) of `lay_out`.
        first: (HIDDEN, 3 C), the decoder's first weight.
    """
    _, channels, side, _ = planes.shape
    hidden = len(first)
    inner = sums.table.reshape(3, side + 2, side + 2, hidden)[:, 1:-1, 1:-1].reshape(3, side * side, hidden)
    of_planes = (inner @ _per_plane(first)).reshape(3, side, side, channels).transpose(0, 3, 1, 2)
    of_first = (inner.transpose(0, 2, 1) @ _texels(planes)).transpose(1, 0, 2).reshape(hidden, 3 * channels)
    square = (hidden, hidden)
    weights = [
        of_first,
        sums.bias,
        sums.weight1.reshape(square).T,
        sums.bias1,
        sums.weight2.reshape(square).T,
        sums.bias2,
        sums.head,
        sums.head_bias,
    ]
    return of_planes, weights


def _texels(planes: np.ndarray) -> np.ndarray:
    """(3, C, H, W) -> (3, H W, C)."""
    return planes.reshape(3, planes.shape[1], -1).transpose(0, 2, 1)


def _per_plane(first: np.ndarray) -> np.ndarray:
    """(HIDDEN, 3 C) -> (3, HIDDEN, C)."""
    return first.reshape(len(first), 3, -1).transpose(1, 0, 2)


def _aligned(array: np.ndarray) -> np.ndarray:
    """Float32 copy that begins at a cache line."""
    copy = aligned_array(array.size).reshape(array.shape)
    copy[...] = array
    return copy
