"""RMSNorm, SwiGLU and rotary positions, with the parameter names of released transformers."""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from openlrm.ops.layers import Linear, silu


class RMSNorm(nn.Cell):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich, 2019); statistics in float32."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = Parameter(initializer("ones", (dim,), ms.float32))

    def construct(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim), in the type of x."""
        wide = x.astype(ms.float32)
        scale = ops.rsqrt((wide * wide).mean(-1, keep_dims=True) + self.eps)
        return (wide * scale * self.weight).astype(x.dtype)


class SwiGLU(nn.Cell):
    """w2(silu(w1 x) * w3 x) without biases (Shazeer, "GLU variants improve transformer", 2020)."""

    def __init__(self, dim: int, hidden: int | None = None):
        """Make the layers.

        Args:
            dim: of the tokens.
            hidden: width between; `swiglu_width(dim)` without it.
        """
        super().__init__()
        hidden = swiglu_width(dim) if hidden is None else hidden
        self.w1, self.w3 = Linear(dim, hidden, bias=False), Linear(dim, hidden, bias=False)
        self.w2 = Linear(hidden, dim, bias=False)

    def construct(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.w2(silu(self.w1(x)) * self.w3(x))


def swiglu_width(dim: int, multiple: int = 256) -> int:
    """Hidden width: 8/3 of the tokens' rounded up to a multiple, so that three matrices cost what two of 4x do.

    Example:
        >>> swiglu_width(384), swiglu_width(768)
        (1024, 2048)
    """
    return -(-(8 * dim // 3) // multiple) * multiple


def rotary_angles(index: Tensor, width: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `rotate`, once for all layers.

    Of each axis a third of the head: angle i is p base^(-i / Q), i < Q = width / 6.

    Args:
        index: (..., 3) position of each token on a grid, whole numbers.
        width: of a head, a multiple of 6.
        base: of the frequencies.

    Returns:
        Two of (..., 3, Q) float32.

    Raises:
        ValueError: a width that three axes of pairs do not divide.
    """
    if width % 6:
        raise ValueError(f"rotary positions in three dimensions need heads of a multiple of 6, not {width}")
    quarter = width // 6
    frequencies = np.exp(-math.log(base) * np.arange(quarter) / quarter).astype(np.float32)
    angles = index.astype(ms.float32).expand_dims(-1) * Tensor(frequencies)
    return ops.cos(angles), ops.sin(angles)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn pairs of a query's or key's numbers by its token's position (Su et al., "RoFormer", 2021).

    A head is three thirds for x, y, z, each [u (Q), v (Q)]: u' = u cos - v sin, v' = v cos + u sin.

    Args:
        x: (..., heads, width).
        cosines: (..., 3, Q), of `rotary_angles`.
        sines: likewise.

    Returns:
        (..., heads, width).
    """
    *front, heads, width = x.shape
    pairs = x.reshape((*front, heads, 3, 2, width // 6))
    u, v = pairs[..., 0, :], pairs[..., 1, :]
    cosines, sines = cosines.expand_dims(-3), sines.expand_dims(-3)
    return ops.stack([u * cosines - v * sines, v * cosines + u * sines], axis=-2).reshape((*front, heads, width))


def grid_index(points: Tensor, grid: int, half: float = 0.5) -> Tensor:
    """Lattice positions of points: floor((xyz / half + 1) (grid - 1) / 2 + 1e-4), whole numbers as float32.

    The 1e-4 keeps lattice points on their own number in float32.

    Args:
        points: (..., 3) in [-half, half]^3.
        grid: lattice points a side.
        half: half the cube's side.
    """
    return ops.floor((points / half + 1) * ((grid - 1) / 2) + 1e-4)
