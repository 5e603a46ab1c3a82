"""AdamW (Loshchilov and Hutter, 2019) and the gradient's global norm.

MindSpore's nn.AdamWeightDecay has no bias correction and takes seven times as long on a CPU (39 M parameters, two
cores: 0.67 s; the fused Adam kernel here 0.09 s), so the decay is put in front of that kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.common.initializer import initializer

from openlrm.ops import add_to, assign, square_sum

_NO_DECAY = ("bias", "gamma", "beta")


def decays(parameter: Parameter) -> bool:
    """Whether weight decay acts on a parameter: on matrices, not on biases, norms and scales."""
    return parameter.ndim > 1 and parameter.name.rpartition(".")[2] not in _NO_DECAY


class AdamW(nn.Cell):
    """AdamW whose rate and step come from outside: the state is the two moments of each parameter.

    Args:
        parameters: what is optimised; names are unique.
        betas: decay of the first and second moment.
        eps: added to the root of the bias-corrected second moment.
        weight_decay: share of a parameter taken off per unit of learning rate.
        decayed: which parameters it acts on; see `decays` without it.
        factors: of the learning rate, one per parameter; 1 without them.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: Sequence[float],
        eps: float,
        weight_decay: float,
        decayed: Sequence[bool] | None = None,
        factors: Sequence[float] | None = None,
    ):
        super().__init__()
        self.weights = ParameterTuple(parameters)
        self.first = ParameterTuple([_zeros_like(p, "m") for p in parameters])
        self.second = ParameterTuple([_zeros_like(p, "v") for p in parameters])
        self.betas, self.eps, self.weight_decay = tuple(betas), eps, weight_decay
        decayed = map(decays, parameters) if decayed is None else decayed
        self.decayed = tuple(weight_decay > 0 and acts for acts in decayed)
        self.beta1, self.beta2 = (Tensor(beta, ms.float32) for beta in betas)
        factors = [1.0] * len(parameters) if factors is None else list(factors)
        # A handful of different ones: each becomes one number a step, whatever the number of parameters.
        self.levels = sorted(set(factors))
        self.level = tuple(self.levels.index(factor) for factor in factors)
        self.adam = ops.Adam()

    def step(self, gradients: tuple[Tensor, ...], rate: float, step: int) -> None:
        """Change the parameters.

        Args:
            gradients: one per parameter, in order.
            rate: learning rate.
            step: updates done before, from 0: gives the bias correction.
        """
        powers = [np.float32(beta ** (step + 1)) for beta in self.betas]
        # The kernel adds its epsilon to the root of the uncorrected moment: scaled, it is AdamW's.
        eps = self.eps * np.sqrt(1 - self.betas[1] ** (step + 1))
        rates = [rate * factor for factor in self.levels]
        keeps = [1 - each * self.weight_decay for each in rates]
        rates, keeps = (variable([Tensor(value, ms.float32) for value in values]) for values in (rates, keeps))
        self(gradients, rates, keeps, *(Tensor(value, ms.float32) for value in (eps, *powers)))

    def construct(self, gradients, rates, keeps, eps, power1, power2):
        """Decay, then Adam, parameter by parameter; arguments as tensors so that a graph compiles once."""
        for i in range(len(self.weights)):
            rate = rates[self.level[i]]
            if self.decayed[i]:
                assign(self.weights[i], self.weights[i] * keeps[self.level[i]])
            self.adam(
                self.weights[i],
                self.first[i],
                self.second[i],
                power1,
                power2,
                rate,
                self.beta1,
                self.beta2,
                eps,
                gradients[i],
            )
        return eps

    def state(self) -> dict[str, np.ndarray]:
        """Moments by name, copied."""
        return {p.name: p.asnumpy().copy() for p in (*self.first, *self.second)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        for p in (*self.first, *self.second):
            p.set_data(Tensor(np.array(state[p.name])))


class GlobalNorm(nn.Cell):
    """Euclidean norm of all gradients together; NaN or infinite when any entry is."""

    def construct(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """() float32."""
        total = ops.zeros((1, 1), ms.float32)
        for gradient in gradients:
            total = total + square_sum(gradient.astype(ms.float32))
        return ops.sqrt(total).reshape(())


class Scale(nn.Cell):
    """Gradients times a number."""

    def construct(self, gradients: tuple[Tensor, ...], factor: Tensor) -> tuple[Tensor, ...]:
        """Same shapes."""
        scaled = []
        for gradient in gradients:
            scaled.append(gradient * factor)
        return tuple(scaled)


class Accumulate(nn.Cell):
    """Sums of gradients over several batches.

    Args:
        parameters: the gradients' shapes and names.
    """

    def __init__(self, parameters: Sequence[Parameter]):
        super().__init__()
        self.sums = ParameterTuple([_zeros_like(p, "sum") for p in parameters])

    def construct(self, gradients: tuple[Tensor, ...]) -> bool:
        """Add one batch's gradients."""
        for i in range(len(self.sums)):
            add_to(self.sums[i], gradients[i])
        return True

    def take(self) -> tuple[Tensor, ...]:
        """The sums so far, as they are; begin anew with `clear` after they were used."""
        return tuple(p.value() for p in self.sums)

    def clear(self) -> None:
        """Set the sums to zero."""
        for p in self.sums:
            p.set_data(ops.zeros_like(p))


def clip_factor(norm: float, limit: float) -> float:
    """What gradients of global norm `norm` are multiplied by so that it is at most `limit`."""
    return min(1.0, limit / norm) if norm > 0 else 1.0


def variable(gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients as an argument of a Cell: graph mode takes a plain tuple for a constant and compiles in every step."""
    return ms.mutable(tuple(gradients))


def _zeros_like(parameter: Parameter, kind: str) -> Parameter:
    zeros = initializer("zeros", parameter.shape, ms.float32)
    return Parameter(zeros, name=f"optimizer.{kind}.{parameter.name}", requires_grad=False)
