"""Samples of several maps at free positions, weighted and summed: the core of deformable attention.

Zhu et al., "Deformable DETR" (2021), equation 3. PyNative on a CPU: compiled loops (`openlrm.ops.host.deformable`).
Graph mode and Ascend: grid_sample, a map at a time.
"""

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.device import host_kernels
from openlrm.ops.host.arrays import host_array
from openlrm.utils.threads import spread

# Tokens of a task of the compiled loop: about a millisecond.
_TASK_TOKENS = 64


def deformable_sample(values: Tensor, sizes: tuple[tuple[int, int], ...], positions: Tensor, weights: Tensor) -> Tensor:
    """Bilinear samples of each head's channels, times their weights, summed over maps and points.

    Texel (i, j) of a map of H x W stands at x = (j + 0.5) / W, y = (i + 0.5) / H (align_corners=False); what lies
    outside is zero. Gradients of values, positions and weights.

    Args:
        values: (N, L, heads, C), the maps one after the other, each row by row; L is the sum of H W.
        sizes: H and W of each map.
        positions: (N, S, heads, maps, points, 2), x and y.
        weights: (N, S, heads, maps, points).

    Returns:
        (N, S, heads, C).
    """
    if host_kernels():
        return HostDeformable(sizes)(values, positions, weights)
    return _by_grid_sample(values, sizes, positions, weights)


class HostDeformable(nn.Cell):
    """`deformable_sample` by compiled loops, PyNative on a CPU."""

    def __init__(self, sizes: tuple[tuple[int, int], ...]):
        super().__init__()
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)

    def construct(self, values: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
        """(N, L, heads, C), (N, S, heads, maps, points, 2), (N, S, heads, maps, points) -> (N, S, heads, C)."""
        from openlrm.ops.host.deformable import sample

        values, positions, weights = self._arrays(values, positions, weights)
        samples, _, heads, channels = values.shape
        tokens = positions.shape[1]
        out = np.empty((samples, tokens, heads, channels), np.float32)
        tasks = -(-tokens // _TASK_TOKENS)

        def work(task: int) -> None:
            n, first = task // tasks, task % tasks * _TASK_TOKENS
            sample(values[n], self.sizes, positions[n], weights[n], first, min(first + _TASK_TOKENS, tokens), out[n])

        spread(work, samples * tasks)
        return Tensor.from_numpy(out)

    def bprop(self, values: Tensor, positions: Tensor, weights: Tensor, out: Tensor, dout: Tensor) -> tuple:
        """Gradients of the three; a head of a sample is a task, so sums do not depend on the threads."""
        from openlrm.ops.host.deformable import sample_gradient

        inputs, dout = self._arrays(values, positions, weights), host_array(dout)
        dvalues, dpositions, dweights = np.zeros_like(inputs[0]), np.empty_like(inputs[1]), np.empty_like(inputs[2])
        heads = values.shape[2]

        def work(task: int) -> None:
            n, head = task // heads, task % heads
            values, positions, weights = (array[n] for array in inputs)
            gradients = dvalues[n], dpositions[n], dweights[n]
            sample_gradient(values, self.sizes, positions, weights, head, dout[n], *gradients)

        spread(work, len(dvalues) * heads)
        return tuple(map(Tensor.from_numpy, (dvalues, dpositions, dweights)))

    def _arrays(self, values: Tensor, positions: Tensor, weights: Tensor) -> tuple[np.ndarray, ...]:
        """The three as arrays; the loops do not look whether they go beyond an end.

        Raises:
            ValueError: shapes that do not fit together.
        """
        levels, length = len(self.sizes), int(self.sizes.prod(1).sum())
        samples, rows, heads, _ = values.shape
        wanted = (samples, positions.shape[1], heads, levels, weights.shape[-1])
        if rows != length or positions.shape != (*wanted, 2) or weights.shape != wanted:
            raise ValueError(
                f"values {values.shape}, positions {positions.shape} and weights {weights.shape} do not fit maps of"
                f" {self.sizes.tolist()}"
            )
        return tuple(map(host_array, (values, positions, weights)))


def _by_grid_sample(values: Tensor, sizes: tuple[tuple[int, int], ...], positions: Tensor, weights: Tensor) -> Tensor:
    samples, _, heads, channels = values.shape
    tokens, points = positions.shape[1], positions.shape[4]
    # Heads beside samples, as maps of their own.
    values = values.transpose(0, 2, 3, 1).reshape(samples * heads, channels, -1)
    positions = 2 * positions.transpose(0, 2, 3, 1, 4, 5).reshape(samples * heads, len(sizes), tokens, points, 2) - 1
    weights = weights.transpose(0, 2, 3, 1, 4).reshape(samples * heads, len(sizes), 1, tokens, points)
    out, start = 0, 0
    for level, (height, width) in enumerate(sizes):
        texels = values[:, :, start : start + height * width].reshape(samples * heads, channels, height, width)
        out = out + (ops.grid_sample(texels, positions[:, level], align_corners=False) * weights[:, level]).sum(-1)
        start += height * width
    return out.reshape(samples, heads, channels, tokens).transpose(0, 3, 1, 2)
