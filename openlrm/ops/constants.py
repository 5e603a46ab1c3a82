"""Tensors that depend on sizes alone, made once: not a copy to the device in every call, a constant of every graph."""

from collections.abc import Callable
from functools import cache, wraps

import numpy as np
from mindspore import Tensor, ops


def constant(make: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Have a function of hashable sizes that makes an array give a Tensor, the same one for the same sizes.

    It may be called while a graph is compiled.
    """

    @cache
    def kept(*sizes) -> Tensor:
        return Tensor(make(*sizes))

    # The compiler reads the source of what it calls, and a cached function has none.
    @wraps(make)
    def call(*sizes) -> Tensor:
        return kept(*sizes)

    return ops.constexpr(call)
