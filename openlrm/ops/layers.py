"""Linear, LayerNorm and activations with PyTorch's parameter names and layouts.

Naming parameters `weight`/`bias` as the released checkpoints do makes the weight table an identity.
"""

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from openlrm.ops.device import on_ascend


class AddBias(nn.Cell):
    """x + b over rows; the gradient of b is a product with ones.

    On a CPU BiasAddGrad takes 20 ms for (110592, 64), the product 1 ms; adding by broadcasting takes nine times
    as long as BiasAdd.
    """

    def __init__(self):
        super().__init__()
        self.add = ops.BiasAdd()
        self.matmul = ops.MatMul()

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        """(P, D), (D,) -> (P, D)."""
        return self.add(x, bias)

    def bprop(self, x: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x (P, D) and of the bias (D,)."""
        ones = ops.ones((1, x.shape[0]), x.dtype)
        return dout, self.matmul(ones, dout).reshape(bias.shape)


class Linear(nn.Cell):
    """y = x W^T + b over the last axis; weight (out_features, in_features), bias (out_features,).

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
        self.add_bias = AddBias()

    def construct(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        shape = x.shape
        y = self.matmul(x.reshape(-1, self.in_features), self.weight)
        if self.has_bias:
            y = self.add_bias(y, self.bias)
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
        gains = 1 + scale
        weights = unstack_samples(self.weight * gains)
        biases = unstack_samples(self.bias * gains + shift)
        tokens = unstack_samples(x)
        out = [self.norm(tokens[i], weights[i], biases[i])[0] for i in range(len(tokens))]
        return stack_samples(out)


def unstack_samples(x: Tensor) -> tuple[Tensor, ...]:
    """Cut along the first axis; a single sample is only viewed anew.

    In graph mode an index x[0] is a copy at 24 ns a number on a CPU.
    """
    return ops.unstack(x) if x.shape[0] > 1 else (x.reshape(x.shape[1:]),)


def stack_samples(samples: list[Tensor]) -> Tensor:
    """Stack equal tensors along a new first axis; a single one is only viewed anew, not copied."""
    return ops.stack(samples) if len(samples) > 1 else samples[0].reshape((1, *samples[0].shape))


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU of any shape. On a CPU the formula takes two thirds of the fused kernel's time."""
    if on_ascend():
        return ops.gelu(x, approximate="none")
    return 0.5 * x * (1 + ops.erf(x * (1 / math.sqrt(2))))


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), any shape."""
    return x * ops.sigmoid(x)
