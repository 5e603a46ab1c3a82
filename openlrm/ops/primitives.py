"""Primitives of MindSpore, each made once.

Making one takes about as long as a small launch, and nothing of MindSpore may exist before a job of several workers is
set up: so they are made when first used.
"""

from functools import cache

from mindspore import ops


@cache
def matmul(transpose_a: bool = False, transpose_b: bool = False) -> ops.MatMul:
    """Product of two matrices."""
    return ops.MatMul(transpose_a, transpose_b)


@cache
def batch_matmul(transpose_a: bool = False, transpose_b: bool = False) -> ops.BatchMatMul:
    """Products of matrices, one a sample."""
    return ops.BatchMatMul(transpose_a, transpose_b)


@cache
def bias_add() -> ops.BiasAdd:
    """x + b over the second axis."""
    return ops.BiasAdd()


@cache
def convolution(outputs: int, side: int, margin: int) -> ops.Conv2D:
    """Convolution with stride 1 and a zero margin."""
    return ops.Conv2D(outputs, side, pad_mode="pad", pad=margin)


@cache
def unstack(count: int) -> ops.Unstack:
    """Cut along the first axis."""
    return ops.Unstack(0, count)


@cache
def scatter_nd() -> ops.ScatterNd:
    """Rows put into zeros; those of one place are added."""
    return ops.ScatterNd()


@cache
def assign() -> ops.Assign:
    """A parameter takes a tensor's numbers."""
    return ops.Assign()


@cache
def assign_add() -> ops.AssignAdd:
    """A tensor is added to a parameter."""
    return ops.AssignAdd()
