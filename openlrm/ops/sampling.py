"""Bilinear sampling of a triplane, in three forms of the same arithmetic.

PyNative on a CPU: two compiled loops (`openlrm.ops.host.sampling`). Ascend: grid_sample. Graph mode on a CPU: one row
gather, as follows.
A texel's row in the table holds the four corners of its cell, channel-last, so a point reads three rows (one a
plane) and mixes 12 vectors. A border of zero texels stands for "zeros outside": no validity mask is needed.
On a CPU grid_sample takes 16 times as long (3 planes, 0.5 M points, 32 channels: 1.0 s against 0.06 s).
"""

from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.device import host_kernels, on_ascend
from openlrm.ops.host.arrays import check_array, host_array
from openlrm.ops.primitives import batch_matmul, bias_add, matmul
from openlrm.utils.threads import host_threads, spread_ranges

# (column axis, row axis) of the three planes: (x, y), (x, z), (z, y).
PLANE_AXES = ((0, 1), (0, 2), (2, 1))

# Points of one task of the compiled loop: about a millisecond.
_TASK_POINTS = 4096


def _corner_matrices() -> tuple[np.ndarray, ...]:
    """Affine maps from the cell fractions (fx, fy, fz) to the column and row factors of the 12 corner weights."""
    column, row = np.zeros((3, 12), np.float32), np.zeros((3, 12), np.float32)
    column_bias, row_bias = np.zeros(12, np.float32), np.zeros(12, np.float32)
    for plane, (col_axis, row_axis) in enumerate(PLANE_AXES):
        for corner in range(4):
            k, right, lower = 4 * plane + corner, corner % 2, corner // 2
            column[col_axis, k], column_bias[k] = (1, 0) if right else (-1, 1)
            row[row_axis, k], row_bias[k] = (1, 0) if lower else (-1, 1)
    return column, column_bias, row, row_bias


_COLUMN, _COLUMN_BIAS, _ROW, _ROW_BIAS = _corner_matrices()


def build_table(planes: Tensor) -> Tensor:
    """Lay planes out for `sample_table`.

    Args:
        planes: (N, 3, C, H, W), H = W.

    Returns:
        Graph mode on a CPU: (N, 3 * (H + 2)^2, 4 * C), row = padded texel, its four corners in the order (0,0),
        (0,1), (1,0), (1,1).
        Otherwise the planes themselves.
    """
    if on_ascend() or host_kernels():
        return planes
    n, _, channels, height, width = planes.shape
    padded = _surround(planes.transpose(0, 1, 3, 4, 2).reshape(n * 3, height, width, channels))
    upper, lower = padded[:, : height + 2], padded[:, 1 : height + 3]
    corners = (
        upper[:, :, : width + 2],
        upper[:, :, 1 : width + 3],
        lower[:, :, : width + 2],
        lower[:, :, 1 : width + 3],
    )
    return ops.concat(corners, axis=-1).reshape(n, 3 * (height + 2) * (width + 2), 4 * channels)


def _surround(x: Tensor) -> Tensor:
    """Zeros around (B, H, W, C), one texel before and two behind: (B, H + 3, W + 3, C).

    ops.pad would do, but in graph mode on a CPU its gradient is right the first time only (MindSpore 2.10).
    """
    batch, height, width, channels = x.shape
    x = ops.concat([ops.zeros((batch, 1, width, channels)), x, ops.zeros((batch, 2, width, channels))], axis=1)
    ahead, behind = ops.zeros((batch, height + 3, 1, channels)), ops.zeros((batch, height + 3, 2, channels))
    return ops.concat([ahead, x, behind], axis=2)


def sample_table(table: Tensor, points: Tensor, channels: int, movable: bool = False) -> Tensor:
    """Features of points: bilinear on each plane, align_corners=False, zeros outside; planes concatenated.

    Args:
        table: what `build_table` gave.
        points: (N, P, 3) in [-1, 1]^3; outside is allowed and gives zeros.
        channels: C.
        movable: let a gradient flow to the points, as points of a surface need it; not in graph mode on a CPU.

    Returns:
        (N, P, 3 * C).
    """
    points = points if movable else ops.stop_gradient(points)
    if on_ascend():
        return _grid_sample(table, points)
    if host_kernels():
        return _host_sample(movable)(table, points)
    points = ops.stop_gradient(points)
    n, count, _ = points.shape
    side = round((table.shape[1] // 3) ** 0.5)
    half = (side - 2) / 2
    flat = points.reshape(n * count, 3)
    # Padded grid coordinate: texel i of the plane is i + 1; 0 and side - 1 are zero texels.
    grid = ops.clamp(flat * half + (half + 0.5), 0.0, side - 1.0)
    cell = ops.minimum(ops.floor(grid), Tensor(side - 2.0, ms.float32))
    fraction = grid - cell
    product, add = matmul(), bias_add()
    weights = add(product(fraction, Tensor(_COLUMN)), Tensor(_COLUMN_BIAS)) * add(
        product(fraction, Tensor(_ROW)), Tensor(_ROW_BIAS)
    )
    rows = ops.stop_gradient(add(product(cell, Tensor(_strides(side))), Tensor(_offsets(side))).astype(ms.int32))
    if n > 1:
        rows = rows.reshape(n, count * 3) + (ops.arange(n) * table.shape[1]).astype(ms.int32).reshape(n, 1)
    corners = ops.gather(table.reshape(-1, 4 * channels), rows.reshape(n * count, 3), 0)
    mixed = batch_matmul()(
        ops.stop_gradient(weights).reshape(n * count * 3, 1, 4), corners.reshape(n * count * 3, 4, channels)
    )
    return mixed.reshape(n, count, 3 * channels)


def _strides(side: int) -> np.ndarray:
    """Matrix from cell (x, y, z) to the row inside each plane's part of the table; exact in float32."""
    strides = np.zeros((3, 3), np.float32)
    for plane, (col_axis, row_axis) in enumerate(PLANE_AXES):
        strides[col_axis, plane], strides[row_axis, plane] = 1, side
    return strides


def _offsets(side: int) -> np.ndarray:
    return np.arange(3, dtype=np.float32) * side * side


class HostSample(nn.Cell):
    """`sample_table` by compiled loops.

    Args:
        movable: whether points get a gradient too, or zeros.
    """

    def __init__(self, movable: bool):
        super().__init__()
        self.movable = movable

    def construct(self, planes: Tensor, points: Tensor) -> Tensor:
        """(N, 3, C, H, W), (N, P, 3) -> (N, P, 3 * C)."""
        from openlrm.ops.host.sampling import sample_planes

        n, _, channels, _, _ = planes.shape
        points = host_array(points)
        check_array(points, "points", (n, None, 3))
        out = np.empty((n, points.shape[1], 3 * channels), np.float32)
        for table, where, target in zip(_channel_last(planes), points, out, strict=True):

            def work(first: int, last: int, table=table, where=where, target=target) -> None:
                sample_planes(table, where, first, last, target)

            spread_ranges(work, len(where), _TASK_POINTS)
        return Tensor.from_numpy(out)

    def bprop(self, planes: Tensor, points: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the planes and of the points."""
        from openlrm.ops.host.sampling import scatter_planes

        _, _, channels, height, width = planes.shape
        gradients = np.empty(planes.shape, np.float32)
        for i, (where, features) in enumerate(zip(host_array(points), host_array(dout), strict=True)):
            # A share of the points for each sum, whatever thread takes it: the same result every time.
            step = max(1, -(-len(where) // host_threads()))
            sums = np.zeros((-(-len(where) // step), 3, height, width, channels), np.float32)

            def work(first: int, last: int, where=where, features=features, sums=sums, step=step) -> None:
                scatter_planes(features, where, first, last, sums[first // step])

            spread_ranges(work, len(where), step)
            gradients[i] = sums.sum(0).transpose(0, 3, 1, 2)
        return Tensor.from_numpy(gradients), self._of_points(planes, points, dout)

    def _of_points(self, planes: Tensor, points: Tensor, dout: Tensor) -> Tensor:
        from openlrm.ops.host.sampling import move_points

        if not self.movable:
            return ops.zeros_like(points)
        out = np.empty(points.shape, np.float32)
        arrays = (_channel_last(planes), host_array(points), host_array(dout), out)
        for table, where, features, target in zip(*arrays, strict=True):

            def work(first: int, last: int, table=table, where=where, features=features, target=target) -> None:
                move_points(table, features, where, first, last, target)

            spread_ranges(work, len(where), _TASK_POINTS)
        return Tensor.from_numpy(out)


@cache
def _host_sample(movable: bool) -> HostSample:
    return HostSample(movable)


def _channel_last(planes: Tensor) -> np.ndarray:
    return np.ascontiguousarray(host_array(planes).transpose(0, 1, 3, 4, 2))


def _grid_sample(planes: Tensor, points: Tensor) -> Tensor:
    """The same by the framework's grid_sample: planes (N, 3, C, H, W), points (N, P, 3) -> (N, P, 3 * C)."""
    n, _, channels, height, width = planes.shape
    count = points.shape[1]
    uv = ops.stack([points[..., list(axes)] for axes in PLANE_AXES], axis=1).reshape(n * 3, 1, count, 2)
    sampled = ops.grid_sample(planes.reshape(n * 3, channels, height, width), uv, align_corners=False)
    return sampled.reshape(n, 3 * channels, count).transpose(0, 2, 1)
