"""The rasteriser of `openlrm.ops.splatting` in MindSpore's operations alone, for graph mode and Ascend.

The host lists for each tile the K nearest Gaussians that reach it, indices without a gradient; pads point at a
Gaussian without opacity. Tiles are composited some at a time, and again in the backward pass, so that nothing of
(tiles, K, pixels) is kept.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

TILE = 16
_PIXELS = TILE * TILE
_NEAR, _BLUR, _MARGIN = 0.2, 0.3, 0.15
_LEAST, _MOST, _OPAQUE = 1 / 255, 0.99, 1e-4
# Of tiles x list x pixels at once: 8 MiB an intermediate result, of which a dozen are alive.
_BLOCK_NUMBERS = 1 << 21
# Columns of what `project` gives: centre, conic, opacity, then what is seen.
_GEOMETRY = 6


def _rotation(q: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    """Entries of the matrices of unit quaternions (N, 4), each (N,)."""
    w, x, y, z = q[:, 0], q[:, 1], q[:, 2], q[:, 3]
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


def project(
    means: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor, colors: Tensor, camera: Tensor
) -> Tensor:
    """Gaussians as a camera sees them.

    Args:
        means: (N, 3).
        scales: (N, 3).
        rotations: (N, 4).
        opacities: (N, 1).
        colors: (N, 3).
        camera: (20,), of `openlrm.ops.host.splatting.camera_numbers`.

    Returns:
        (N, 10): centre x, y in pixels, conic xx, xy, yy, opacity, red, green, blue, depth. Without meaning behind the
        camera.
    """
    rows = camera[:12].reshape(3, 4)
    # Sums instead of a product, which some devices round to half the digits.
    x, y, z = [(means * rows[i, :3]).sum(1) + rows[i, 3] for i in range(3)]
    z = ops.where(z > _NEAR, z, ops.ones_like(z))
    fx, fy = camera[12] / z, camera[13] / z
    a = ops.clamp(x / z, camera[16], camera[17])
    b = ops.clamp(y / z, camera[18], camera[19])
    toward0 = [fx * (rows[0, j] - a * rows[2, j]) for j in range(3)]
    toward1 = [fy * (rows[1, j] - b * rows[2, j]) for j in range(3)]
    r = _rotation(rotations)
    u = [(toward0[0] * r[0][k] + toward0[1] * r[1][k] + toward0[2] * r[2][k]) * scales[:, k] for k in range(3)]
    v = [(toward1[0] * r[0][k] + toward1[1] * r[1][k] + toward1[2] * r[2][k]) * scales[:, k] for k in range(3)]
    xx = u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
    xy = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
    yy = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    # The determinant without a difference, as in `host.splatting_project`.
    c01, c02, c12 = u[0] * v[1] - u[1] * v[0], u[0] * v[2] - u[2] * v[0], u[1] * v[2] - u[2] * v[1]
    determinant = _BLUR * _BLUR + _BLUR * (xx + yy) + c01 * c01 + c02 * c02 + c12 * c12
    geometry = ops.stack(
        [
            fx * x + camera[14],
            fy * y + camera[15],
            (yy + _BLUR) / determinant,
            -xy / determinant,
            (xx + _BLUR) / determinant,
        ],
        axis=1,
    )
    return ops.concat([geometry, opacities, colors, z.reshape(-1, 1)], axis=1)


class Composite(nn.Cell):
    """Projected Gaussians to pixels, tile by tile, with a backward pass that computes each block of tiles again."""

    def __init__(self, height: int, width: int, length: int):
        super().__init__()
        columns = -(-width // TILE)
        tiles = columns * -(-height // TILE)
        most = max(1, _BLOCK_NUMBERS // (length * _PIXELS))
        self.blocks = -(-tiles // most)
        # Blocks of one size; the last ones' places beyond the last tile are for a tile without Gaussians.
        step = -(-tiles // self.blocks)
        order = np.minimum(np.arange(self.blocks * step), tiles).reshape(self.blocks, step)
        self.order, self.first = Tensor(order.astype(np.int32)), Tensor(0, ms.int32)
        self.nothing = Tensor(np.zeros((tiles + 1, _PIXELS, 5), np.float32))
        tile, pixel = np.arange(tiles + 1)[:, None, None], np.arange(_PIXELS)
        self.x = Tensor((tile % columns * TILE + pixel % TILE + 0.5).astype(np.float32))
        self.y = Tensor((tile // columns * TILE + pixel // TILE + 0.5).astype(np.float32))
        # Primitives: in a bprop, graph mode does not compile the functions of `ops` that branch (MindSpore 2.10).
        self.gather, self.put = ops.Gather(), ops.TensorScatterUpdate()
        self.add_up, self.select = ops.UnsortedSegmentSum(), ops.Select()
        self.exp, self.both = ops.Exp(), ops.LogicalAnd()
        self.zeros, self.ones = ops.ZerosLike(), ops.OnesLike()
        self.join, self.join_columns = ops.Concat(0), ops.Concat(-1)
        self.sum = ops.ReduceSum(keep_dims=True)
        self.before, self.behind = ops.CumProd(exclusive=True), ops.CumSum(exclusive=True, reverse=True)
        self.mix = ops.BatchMatMul()
        self.mix_first, self.mix_last = ops.BatchMatMul(transpose_a=True), ops.BatchMatMul(transpose_b=True)

    def construct(self, projected: Tensor, lists: Tensor) -> Tensor:
        """Composite.

        Args:
            projected: (N, 10), of `project`.
            lists: (T, K) int32, indices of Gaussians from front to back for each of T tiles; N is a pad.

        Returns:
            (T, 256, 5): red, green, blue, depth and alpha, sums over the Gaussians' weights.
        """
        table, lists = self._with_pad(projected), self._with_pad(lists, projected.shape[0])
        out, block = self.nothing, self.first
        # A loop of the graph's own: one that is unrolled keeps the results of all blocks (MindSpore 2.10).
        while block < self.blocks:
            tiles = self.gather(self.order, block, 0)
            gaussians = self.gather(table, self.gather(lists, tiles, 0), 0)
            _, _, _, _, _, weights, _ = self._weights(gaussians, tiles)
            out = self.put(out, tiles.reshape(-1, 1), self.mix_first(weights, self._seen(gaussians)))
            block = block + 1
        return out[:-1]

    def bprop(self, projected: Tensor, lists: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the Gaussians, and none of the lists."""
        table, padded = self._with_pad(projected), self._with_pad(lists, projected.shape[0])
        dout, gradient, block = self._with_pad(dout), self.zeros(table), self.first
        while block < self.blocks:
            tiles = self.gather(self.order, block, 0)
            which = self.gather(padded, tiles, 0)
            part = self._gradient(self.gather(table, which, 0), self.gather(dout, tiles, 0), tiles)
            gradient = gradient + self.add_up(part.reshape(-1, table.shape[1]), which.reshape(-1), table.shape[0])
            block = block + 1
        return gradient[:-1], self.zeros(lists)

    def _with_pad(self, rows: Tensor, pad: int = 0) -> Tensor:
        """(N + 1, ...): one more row, of a number."""
        return self.join((rows, self.zeros(rows[:1]) + pad))

    def _seen(self, gaussians: Tensor) -> Tensor:
        """(B, K, 5): red, green, blue, depth, 1."""
        return self.join_columns((gaussians[..., _GEOMETRY:], self.ones(gaussians[..., :1])))

    def _weights(self, gaussians: Tensor, tiles: Tensor) -> tuple[Tensor, ...]:
        """Dx, dy, fall, alpha, light before each Gaussian, weight, where alpha counts; (B, K, 256)."""
        x, y = self.gather(self.x, tiles, 0), self.gather(self.y, tiles, 0)
        dx, dy = x - gaussians[..., 0:1], y - gaussians[..., 1:2]
        power = gaussians[..., 2:3] * dx * dx + 2 * gaussians[..., 3:4] * dx * dy + gaussians[..., 4:5] * dy * dy
        fall = self.exp(-0.5 * power)
        full = gaussians[..., 5:6] * fall
        zeros = self.zeros(full)
        touches = full >= _LEAST
        alpha = self.select(touches, self.select(full < _MOST, full, zeros + _MOST), zeros)
        before = self.before(1 - alpha, 1)
        # Without an end the light falls on: what is left of it tells which Gaussians come after the end.
        added = self.both(touches, before * (1 - alpha) >= _OPAQUE)
        weights = self.select(added, before * alpha, zeros)
        return dx, dy, fall, alpha, before, weights, self.both(added, full < _MOST)

    def _gradient(self, gaussians: Tensor, dout: Tensor, tiles: Tensor) -> Tensor:
        """(B, K, 10), given that of the pixels (B, 256, 5)."""
        dx, dy, fall, alpha, before, weights, counts = self._weights(gaussians, tiles)
        value = self.mix_last(self._seen(gaussians), dout)
        dalpha = before * value - self.behind(weights * value, 1) / (1 - alpha)
        dalpha = self.select(counts, dalpha, self.zeros(dalpha))
        q = dalpha * alpha
        xx, xy, yy = gaussians[..., 2:3], gaussians[..., 3:4], gaussians[..., 4:5]
        of_x, of_y = self.sum(q * dx, -1), self.sum(q * dy, -1)
        return self.join_columns(
            (
                xx * of_x + xy * of_y,
                xy * of_x + yy * of_y,
                -0.5 * self.sum(q * dx * dx, -1),
                -self.sum(q * dx * dy, -1),
                -0.5 * self.sum(q * dy * dy, -1),
                self.sum(dalpha * fall, -1),
                self.mix(weights, dout)[..., :4],
            )
        )


class TileSplat(nn.Cell):
    """`openlrm.ops.splatting.splat` in operations, for pictures and lists of one size."""

    def __init__(self, height: int, width: int, length: int):
        """Prepare.

        Args:
            height: of the picture, pixels.
            width: likewise.
            length: K of the lists.
        """
        super().__init__()
        self.height, self.width = height, width
        self.rows, self.columns = -(-height // TILE), -(-width // TILE)
        self.composite = Composite(height, width, length)

    def construct(
        self,
        means: Tensor,
        scales: Tensor,
        rotations: Tensor,
        opacities: Tensor,
        colors: Tensor,
        camera: Tensor,
        indices: Tensor,
        background: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rasterise.

        Args:
            means: (N, 3), and the next four as in `splat`.
            scales: (N, 3).
            rotations: (N, 4).
            opacities: (N, 1).
            colors: (N, 3).
            camera: (20,), of `openlrm.ops.splatting.list_gaussians`.
            indices: (T, K) int32, likewise.
            background: (3,).

        Returns:
            rgb (3, H, W) in [0, 1], depth (1, H, W), alpha (1, H, W).
        """
        pixels = self.composite(project(means, scales, rotations, opacities, colors, camera), indices)
        pixels = pixels.reshape(self.rows, self.columns, TILE, TILE, 5).transpose(4, 0, 2, 1, 3)
        picture = pixels.reshape(5, self.rows * TILE, self.columns * TILE)[:, : self.height, : self.width]
        depth, alpha = picture[3:4], picture[4:]
        return ops.clamp(picture[:3] + (1 - alpha) * background.reshape(3, 1, 1), 0.0, 1.0), depth, alpha
