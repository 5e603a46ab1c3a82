"""Batch normalisation of rows, with the statistics it keeps as parameters that are not trained."""

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from openlrm.ops import assign


class BatchNorm(nn.Cell):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy, 2015).

    In training by the batch's statistics, which also move the kept ones; otherwise by the kept ones.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(initializer("ones", (channels,), ms.float32))
        self.bias = Parameter(initializer("zeros", (channels,), ms.float32))
        self.running_mean = Parameter(initializer("zeros", (channels,), ms.float32), requires_grad=False)
        self.running_var = Parameter(initializer("ones", (channels,), ms.float32), requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        """(P, C) -> (P, C)."""
        if self.training:
            mean = x.mean(0)
            centred = x - mean
            variance = (centred * centred).mean(0)
            self._keep(mean, variance, x.shape[0])
            return centred * (ops.rsqrt(variance + self.eps) * self.weight) + self.bias
        scale = self.weight * ops.rsqrt(self.running_var + self.eps)
        return x * scale + (self.bias - self.running_mean * scale)

    def _keep(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Move the kept statistics by `momentum` towards the batch's, whose variance is made unbiased."""
        unbiased = ops.stop_gradient(variance) * (rows / max(rows - 1, 1))
        new_mean = self.running_mean + self.momentum * (ops.stop_gradient(mean) - self.running_mean)
        new_var = self.running_var + self.momentum * (unbiased - self.running_var)
        assign(self.running_mean, new_mean)
        assign(self.running_var, new_var)
