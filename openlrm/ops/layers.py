"""Linear, LayerNorm and activations with PyTorch's parameter names and layouts.

Naming parameters `weight`/`bias` as the released checkpoints do makes the weight table an identity.
"""

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from openlrm.ops.device import on_ascend


class Linear(nn.Cell):
    """y = x W^T + b over the last axis; weight (out_features, in_features), bias (out_features,).

    The bias goes through BiasAdd: on a CPU adding it by broadcasting takes nine times as long.
    Fresh weights are U(-1/sqrt(in), 1/sqrt(in)), zero bias when `zero_bias`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, zero_bias: bool = False):
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(initializer(Uniform(bound), (out_features, in_features), ms.float32))
        self.has_bias = bias
        if bias:
            self.bias = Parameter(initializer("zeros" if zero_bias else Uniform(bound), (out_features,), ms.float32))
        self.matmul = ops.MatMul(transpose_b=True)
        self.bias_add = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        shape = x.shape
        y = self.matmul(x.reshape(-1, self.in_features), self.weight)
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        return y.reshape((*shape[:-1], self.out_features))


class LayerNorm(nn.Cell):
    """Layer normalisation over the last axis, optionally modulated per sample (adaptive LayerNorm, DiT)."""

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.weight = Parameter(initializer("ones", (dim,), ms.float32))
        self.bias = Parameter(initializer("zeros", (dim,), ms.float32))
        self.norm = ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)

    def construct(self, x: Tensor, shift: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """LN(x), or LN(x) * (1 + scale) + shift when a modulation is given.

        The modulation is folded into the affine part, sample by sample, so no token-sized broadcast is left.

        Args:
            x: (N, L, D).
            shift: (N, D) or None.
            scale: (N, D) or None.

        Returns:
            (N, L, D).
        """
        if shift is None or scale is None:
            return self.norm(x, self.weight, self.bias)[0]
        samples = []
        for i in range(x.shape[0]):
            gain = 1 + scale[i]
            samples.append(self.norm(x[i], self.weight * gain, self.bias * gain + shift[i])[0])
        return ops.stack(samples)


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU of any shape. On a CPU the formula takes two thirds of the fused kernel's time."""
    if on_ascend():
        return ops.gelu(x, approximate="none")
    return 0.5 * x * (1 + ops.erf(x * (1 / math.sqrt(2))))


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), any shape."""
    return x * ops.sigmoid(x)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, D) -> (N * heads, L, D / heads)."""
    n, length, dim = x.shape
    return x.reshape(n, length, heads, dim // heads).transpose(0, 2, 1, 3).reshape(n * heads, length, dim // heads)
