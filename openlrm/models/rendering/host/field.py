"""A triplane and its decoder as the compiled loops want them, and gradients back in the framework's layout."""

from __future__ import annotations

import numpy as np

from openlrm.ops.host.arrays import aligned_array

DECODER_NAMES = tuple(f"net.{layer}.{kind}" for layer in (0, 2, 4, 6) for kind in ("weight", "bias"))
"""Weights of the field's decoder, weights (out, in) and biases (out,)."""


def lay_out(planes: np.ndarray, decoder: dict[str, np.ndarray]):
    """Fold the decoder's first layer into the planes: bilinear sampling is linear, so the two commute.

    Args:
        planes: (3, C, H, H) float32.
        decoder: by `DECODER_NAMES`.

    Returns:
        `kernels.Field`.

    Raises:
        ValueError: planes that are not square or do not fit the decoder.
    """
    # Importing numba takes a third of a second, which a run without rendering should not pay.
    from openlrm.models.rendering.host import kernels

    _, channels, height, width = planes.shape
    first = decoder["net.0.weight"]
    expected = (kernels.HIDDEN, 3 * channels)
    if height != width or first.shape != expected:
        raise ValueError(f"planes {planes.shape} do not fit a first layer {first.shape}, expected {expected}")
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
    return kernels.Field(height + 2, *map(_aligned, arrays), np.ones((1, 1, 1), np.uint8))


def unfold(sums, planes: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gradients of planes (3, C, H, H) and of the decoder's weights, in the order of `DECODER_NAMES`.

    Args:
        sums: `kernels.FieldGradient`.
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
