"""Two levels of features of posed pictures: DINOv2's, and those of small cells of pixels with their rays.

Zhang et al., "GeoLRM: Geometry-Aware Large Reconstruction Model" (2024), section 3.1.
"""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeUniform, initializer

from openlrm.nn.encoders.batch_norm import BatchNorm
from openlrm.nn.encoders.dinov2 import Dinov2, cut_patches
from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.ops import linear

_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
LOW_CELL = 4
"""Side in pixels of the cells of the low level."""
_RAY_CHANNELS = 9


class HierarchicalEncoder(nn.Cell):
    """Posed pictures -> features of two maps.

    Args:
        spec: sizes of DINOv2.
        feature_dim: channels of both maps.
        freeze: whether DINOv2 stays as it is.
    """

    def __init__(self, spec: EncoderSpec, feature_dim: int, freeze: bool = False):
        super().__init__()
        self.patch, self.freeze = spec.patch_size, freeze
        self.model = Dinov2(spec)
        self.deconv = nn.CellList([_Kernel((spec.embed_dim, feature_dim, 4, 4)), BatchNorm(feature_dim)])
        low = _Kernel((feature_dim, _RAY_CHANNELS, LOW_CELL, LOW_CELL))
        self.low_level_encoder = nn.CellList([low, BatchNorm(feature_dim)])
        if freeze:
            for parameter in self.model.get_parameters():
                parameter.requires_grad = False

    def sizes(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """H and W of the low and the high map for pictures of that size."""
        high = 2 * (height // self.patch), 2 * (width // self.patch)
        return (height // LOW_CELL, width // LOW_CELL), high

    def construct(self, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """Features of views.

        Args:
            images: (N, 3, H, W) in [0, 1]; sides multiples of the patch.
            intrinsics: (N, 3, 3), over the picture's width and height.
            c2w: (N, 4, 4) camera-to-world, axes right, up, backward.

        Returns:
            (N, L, feature_dim): the low map row by row, then the high one; see `sizes`.
        """
        n, _, height, width = images.shape
        images = (images - Tensor(_MEAN)) / Tensor(_STD)
        rays = pluecker_rays(intrinsics, c2w, height, width)
        kernel, norm = self.low_level_encoder
        low = linear(cut_patches(ops.concat([images, rays], axis=1), LOW_CELL), kernel.rows())
        low = norm(low).reshape(n, (height // LOW_CELL) * (width // LOW_CELL), -1)
        tokens = self.model(images)
        tokens = ops.stop_gradient(tokens) if self.freeze else tokens
        kernel, norm = self.deconv
        rows, columns = height // self.patch, width // self.patch
        high = _doubled(tokens.reshape(n, rows, columns, -1), kernel.weight)
        high = norm(high).reshape(n, 4 * rows * columns, -1)
        return ops.concat([low, high], axis=1)


def pluecker_rays(intrinsics: Tensor, c2w: Tensor, height: int, width: int) -> Tensor:
    """Direction d, of length 1 along the viewing axis, and moment o x d of the ray of each pixel.

    One focal length, fx W, for both axes, and the middle as principal point, whatever the intrinsics say.

    Args:
        intrinsics: (N, 3, 3), over width and height.
        c2w: (N, 4, 4), axes right, up, backward.
        height: in pixels.
        width: in pixels.

    Returns:
        (N, 6, H, W).
    """
    n = c2w.shape[0]
    across = np.tile(np.arange(width, dtype=np.float32) + 0.5 - width / 2, height)
    down = np.repeat(np.arange(height, dtype=np.float32) + 0.5 - height / 2, width)
    focal = intrinsics[:, 0, 0].reshape(n, 1) * width
    x, y = Tensor(across) / focal, -Tensor(down) / focal
    axes = [c2w[:, :3, i].reshape(n, 3, 1) for i in range(4)]
    directions = axes[0] * x.expand_dims(1) + axes[1] * y.expand_dims(1) - axes[2]
    dx, dy, dz = (directions[:, i] for i in range(3))
    ox, oy, oz = (axes[3][:, i] for i in range(3))
    moments = ops.stack([oy * dz - oz * dy, oz * dx - ox * dz, ox * dy - oy * dx], axis=1)
    return ops.concat([directions, moments], axis=1).reshape(n, 6, height, width)


class _Kernel(nn.Cell):
    """Weight of a convolution without bias."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.weight = Parameter(initializer(HeUniform(5**0.5), shape, ms.float32))

    def rows(self) -> Tensor:
        """(out, in * side * side)."""
        return self.weight.reshape(self.weight.shape[0], -1)


def _doubled(x: Tensor, weight: Tensor) -> Tensor:
    """Transposed convolution with kernel 4, stride 2 and padding 1, as four of 2 x 2: one for each of four pixels.

    Output 2m takes inputs m - 1 and m with taps 3 and 1, output 2m + 1 inputs m and m + 1 with taps 2 and 0.

    Args:
        x: (N, h, w, C).
        weight: (C, D, 4, 4).

    Returns:
        (N 2h 2w, D), row by row.
    """
    n, rows, columns, channels = x.shape
    taps = ((3, 1), (2, 0))
    padded = ops.pad(x, (0, 0, 1, 1, 1, 1))
    parts = []
    for down in range(2):
        for across in range(2):
            near, kernel = [], []
            for i in range(2):
                for j in range(2):
                    near.append(padded[:, down + i : down + i + rows, across + j : across + j + columns])
                    kernel.append(weight[:, :, taps[down][i], taps[across][j]])
            gathered = ops.concat(near, axis=-1).reshape(n * rows * columns, 4 * channels)
            parts.append(linear(gathered, ops.concat(kernel, axis=0).T))
    pixels = ops.stack(parts, axis=1).reshape(n, rows, columns, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return pixels.reshape(n * 4 * rows * columns, -1)
