"""Linear, LayerNorm and activations with PyTorch's parameter names and layouts.

Naming parameters `weight`/`bias` as the released checkpoints do makes the weight table an identity.
"""

import math
from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from openlrm.ops.device import host_kernels, on_ascend
from openlrm.ops.fused import pack_tiles
from openlrm.ops.host.arrays import check_array, host_array
from openlrm.ops.host.sizes import WIDTH
from openlrm.ops.primitives import matmul, unstack
from openlrm.utils.threads import host_threads, spread_ranges

# Numbers of one task of a compiled loop: 256 KB, and some tens of microseconds.
_TASK_NUMBERS = 65536
# Rows from which the compiled products pay.
_LEAST_ROWS = 16


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


class HostLinear(nn.Cell):
    """x W^T + b by compiled loops, PyNative on a CPU; an empty bias is none."""

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(P, K), (N, K), (N,) or (0,) -> (P, N); K and N are multiples of 64."""
        x, weight, bias = map(host_array, (x, weight, bias))
        check_array(x, "x", (None, weight.shape[1]))
        check_array(bias, "bias", (len(bias) and len(weight),))
        return Tensor.from_numpy(_host_product(x, weight.T, bias))

    def bprop(self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple:
        """Gradients of the three."""
        from openlrm.ops.host.linear import weight_gradient

        x, weight, dout = map(host_array, (x, weight, dout))
        dx = _host_product(dout, weight, np.empty(0, np.float32))
        dweight, dbias = np.empty_like(weight), np.empty(len(weight), np.float32)
        # Outputs of a task: all rows are gone through once for each.
        step = max(WIDTH, len(weight) // (2 * host_threads()) // WIDTH * WIDTH)
        spread_ranges(lambda first, last: weight_gradient(dout, x, first, last, dweight, dbias), len(weight), step)
        dbias = dbias if bias.shape[0] else np.empty(0, np.float32)
        return tuple(map(Tensor.from_numpy, (dx, dweight, dbias)))


def _host_product(x: np.ndarray, matrix: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """X M + b: (P, K), (K, N), (N,) or empty -> (P, N)."""
    from openlrm.ops.host.linear import multiply

    tiles, out = pack_tiles(matrix), np.empty((len(x), matrix.shape[1]), np.float32)
    spread_ranges(lambda first, last: multiply(x, tiles, bias, first, last, out), len(x), 2 * WIDTH)
    return out


# Made when first used: nothing of MindSpore may exist before a job of several workers is set up.
@cache
def _add_bias() -> AddBias:
    return AddBias()


@cache
def _host_linear() -> HostLinear:
    return HostLinear()


@cache
def _no_bias() -> Tensor:
    return Tensor(np.empty(0, np.float32))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: (P, K), (N, K), (N,) or None -> (P, N)."""
    width, inner = weight.shape
    if host_kernels() and width % WIDTH == 0 and inner % WIDTH == 0 and x.shape[0] >= _LEAST_ROWS:
        return _host_linear()(x, weight, _no_bias() if bias is None else bias)
    y = matmul(transpose_b=True)(x, weight)
    return y if bias is None else _add_bias()(y, bias)


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

    def construct(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        shape = x.shape
        y = linear(x.reshape(-1, self.in_features), self.weight, self.bias if self.has_bias else None)
        return y.reshape((*shape[:-1], self.out_features))


class HostLayerNorm(nn.Cell):
    """Layer normalisation by compiled loops, PyNative on a CPU: (3072, 512) takes 7.5 ms by the kernel."""

    def __init__(self, eps: float):
        super().__init__()
        self.eps = eps

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(..., D), (D,), (D,) -> (..., D)."""
        from openlrm.ops.host.layers import layer_norm

        x, weight, bias = map(host_array, (x, weight, bias))
        for array, name in ((weight, "weight"), (bias, "bias")):
            check_array(array, name, x.shape[-1:])
        out = np.empty_like(x)
        rows, targets = x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1])

        def work(first: int, last: int) -> None:
            layer_norm(rows[first:last], weight, bias, np.float32(self.eps), targets[first:last])

        spread_ranges(work, len(rows), max(1, _TASK_NUMBERS // x.shape[-1]))
        return Tensor.from_numpy(out)

    def bprop(self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple:
        """Gradients of the three."""
        from openlrm.ops.host.layers import layer_norm_gradient

        x, weight, dout = map(host_array, (x, weight, dout))
        width = x.shape[-1]
        dx, rows, of_rows = np.empty_like(x), x.reshape(-1, width), dout.reshape(-1, width)
        targets = dx.reshape(-1, width)
        # A share of the rows for each sum, whatever thread takes it: the same result every time.
        step = -(-len(rows) // host_threads())
        sums = np.zeros((2, -(-len(rows) // step), width), np.float32)

        def work(first: int, last: int) -> None:
            part = slice(first, last)
            of_weight, of_bias = sums[:, first // step]
            layer_norm_gradient(
                rows[part], weight, np.float32(self.eps), of_rows[part], targets[part], of_weight, of_bias
            )

        spread_ranges(work, len(rows), step)
        of_weight, of_bias = sums.sum(axis=1)
        return Tensor.from_numpy(dx), Tensor.from_numpy(of_weight), Tensor.from_numpy(of_bias)


class LayerNorm(nn.Cell):
    """Layer normalisation over the last axis, optionally modulated per sample (adaptive LayerNorm, DiT)."""

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = Parameter(initializer("ones", (dim,), ms.float32))
        self.bias = Parameter(initializer("zeros", (dim,), ms.float32))
        self.norm = ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)
        self.host_norm = HostLayerNorm(eps)

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
            return self._apply(x, self.weight, self.bias)
        gains = 1 + scale
        weights = unstack_samples(self.weight * gains)
        biases = unstack_samples(self.bias * gains + shift)
        tokens = unstack_samples(x)
        out = [self._apply(tokens[i], weights[i], biases[i]) for i in range(len(tokens))]
        return stack_samples(out)

    def _apply(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if host_kernels():
            return self.host_norm(x, weight, bias)
        return self.norm(x, weight, bias)[0]


def unstack_samples(x: Tensor) -> tuple[Tensor, ...]:
    """Cut along the first axis; a single sample is only viewed anew.

    In graph mode an index x[0] is a copy at 24 ns a number on a CPU.
    """
    return unstack(x.shape[0])(x) if x.shape[0] > 1 else (x.reshape(x.shape[1:]),)


def stack_samples(samples: list[Tensor]) -> Tensor:
    """Stack equal tensors along a new first axis; a single one is only viewed anew, not copied."""
    return ops.stack(samples) if len(samples) > 1 else samples[0].reshape((1, *samples[0].shape))


class HostGELU(nn.Cell):
    """Exact GELU by compiled loops, PyNative on a CPU: 6 M numbers take 25 ms by kernels."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        from openlrm.ops.host.layers import gelu

        return self._over_rows(gelu, x)

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        """Gradient of the argument."""
        from openlrm.ops.host.layers import gelu_gradient

        return (self._over_rows(gelu_gradient, x, dout),)

    def _over_rows(self, kernel, *tensors: Tensor) -> Tensor:
        arrays = [host_array(tensor).reshape(-1) for tensor in tensors]
        out = np.empty_like(arrays[0])

        def work(first: int, last: int) -> None:
            kernel(*(array[first:last] for array in (*arrays, out)))

        spread_ranges(work, out.size, _TASK_NUMBERS)
        return Tensor.from_numpy(out.reshape(tensors[0].shape))


@cache
def _host_gelu() -> HostGELU:
    return HostGELU()


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU of any shape. In graph mode on a CPU the formula takes two thirds of the fused kernel's time."""
    if on_ascend():
        return ops.gelu(x, approximate="none")
    if host_kernels():
        return _host_gelu()(x)
    return 0.5 * x * (1 + ops.erf(x * (1 / math.sqrt(2))))


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), any shape."""
    return x * ops.sigmoid(x)


class SiLU(nn.Cell):
    """x * sigmoid(x)."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        return silu(x)
