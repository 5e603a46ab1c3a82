"""The separable Hartley transform: frequencies of pictures in real numbers, by two matrix products.

With cas t = cos t + sin t and H_n[j, k] = cas(2 pi j k / n) / sqrt(n), symmetric and its own inverse, H_h X H_w is an
orthogonal transform (Bracewell et al., 1986). A filter whose weight depends on |ky| and |kx| alone is diagonal in it:
Re IFFT2(w FFT2(x)) = H_h (w (H_h x H_w)) H_w, and the sum of squares is kept. So there is no complex number, and the
gradient is that of matrix products, on every device and in both modes.
"""

import numpy as np
from mindspore import Tensor, ops

from openlrm.ops.constants import constant


@constant
def _hartley_matrix(size: int) -> np.ndarray:
    """(size, size) float32; angles are reduced as whole numbers, so that large sizes are as exact as small ones."""
    angles = 2 * np.pi * (np.outer(np.arange(size), np.arange(size)) % size) / size
    return ((np.cos(angles) + np.sin(angles)) / np.sqrt(size)).astype(np.float32)


def hartley(x: Tensor) -> Tensor:
    """Orthogonal separable Hartley transform over the last two axes; its own inverse.

    Args:
        x: (..., H, W) float32.

    Returns:
        The same shape, frequencies in FFT order (zero first).
    """
    height, width = x.shape[-2:]
    return ops.matmul(_hartley_matrix(height), ops.matmul(x, _hartley_matrix(width)))
