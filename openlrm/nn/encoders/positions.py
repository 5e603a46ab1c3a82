"""Bicubic resizing of a position table, as a matrix."""

import numpy as np

from openlrm.utils.cubic import keys_kernel

# Cubic convolution parameter (Keys, 1981): -0.5 with antialiasing, -0.75 without, as the released weights expect.
_CUBIC_ANTIALIAS = -0.5
_CUBIC_PLAIN = -0.75


def resize_matrix(size_in: int, size_out: int, antialias: bool, offset: float = 0.0) -> np.ndarray:
    """Matrix (size_out, size_in) of a 1-D bicubic resize, align_corners=False.

    Samples are size_in / (size_out + offset) apart.

    With antialiasing the kernel is widened by size_in / size_out when shrinking and the weights that fall inside
    are normalised to one; without it, samples outside repeat the border.

    Args:
        size_in: entries there are.
        size_out: entries wanted.
        antialias: see above.
        offset: added to size_out where samples are placed, as some published encoders were trained with.

    Returns:
        float32 (size_out, size_in); rows sum to one.
    """
    scale = size_in / (size_out + offset)
    centres = (np.arange(size_out) + 0.5) * scale
    if antialias:
        widen = max(scale, 1.0)
        weights = keys_kernel((np.arange(size_in)[None, :] + 0.5 - centres[:, None]) / widen, _CUBIC_ANTIALIAS)
    else:
        weights = np.zeros((size_out, size_in))
        first = np.floor(centres - 0.5).astype(int) - 1
        for tap in range(4):
            source = first + tap
            weight = keys_kernel(source + 0.5 - centres, _CUBIC_PLAIN)
            np.add.at(weights, (np.arange(size_out), np.clip(source, 0, size_in - 1)), weight)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
