"""3D Gaussians to pictures, with gradients of every Gaussian, in two forms of the same arithmetic.

Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering" (2023). PyNative on a CPU: compiled loops
(`openlrm.ops.host.splatting`). Graph mode and Ascend: operations on lists that the host makes
(`openlrm.ops.splatting_tiles`).

A Gaussian at z > 0.2 along the camera's axis falls on the picture as an ellipse, whose variances are widened by 0.3
pixels^2. In a pixel its alpha is min(0.99, opacity exp(-d^T conic d / 2)), nothing below 1/255. Front to back by z,
T = 1 at first: a Gaussian that would leave T (1 - alpha) < 1e-4 ends the pixel and is not added; each other one is
added with the weight T alpha. Gradients hold all these decisions: none flows through a limit that acts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.device import host_kernels
from openlrm.ops.host.arrays import host_array
from openlrm.ops.splatting_tiles import TileSplat
from openlrm.utils.logging import get_logger

_log = get_logger(__name__)


class Lists(NamedTuple):
    """Gaussians by tiles, what `TileSplat` takes.

    Attributes:
        camera: (20,) float32 Tensor.
        indices: (T, K) int32 Tensor, for each tile its Gaussians from front to back; N is a pad.
        dropped: pairs of a Gaussian and a tile for which K was too small: the farthest of the tile.
    """

    camera: Tensor
    indices: Tensor
    dropped: int


class HostSplat(nn.Cell):
    """Rasterise by compiled loops, PyNative on a CPU; gradients of the Gaussians alone."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = height, width

    def construct(
        self,
        means: Tensor,
        scales: Tensor,
        rotations: Tensor,
        opacities: Tensor,
        colors: Tensor,
        c2w: Tensor,
        intrinsics: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rasterise.

        Returns:
            Colours (3, H, W) without a background; depth (1, H, W); the light that comes through all (1, H, W); how far
            down its tile's list each pixel went (1, H, W), which the backward pass starts from.
        """
        from openlrm.ops.host.splatting import draw

        _, _, seen = self._look(means, scales, rotations, opacities, colors, c2w, intrinsics)
        drawn = draw(seen, self.height, self.width)
        # Four results and no slices of one: in PyNative the gradient of two slices of a tensor came without the first
        # one's part the first time (MindSpore 2.10).
        results = drawn.picture[:3], drawn.picture[3:], drawn.through[None], drawn.last[None]
        return tuple(map(Tensor.from_numpy, results))

    def bprop(self, *inputs_and_results) -> tuple[Tensor, ...]:
        """Gradients of the Gaussians; zeros for the camera."""
        from openlrm.ops.host.splatting import draw_gradient

        *inputs, (_, _, through, last), (dcolors, ddepth, dthrough, _) = inputs_and_results
        # Projected and sorted anew: that is a tenth of the time, kept it would be two thirds of the memory.
        arrays, camera, seen = self._look(*inputs)
        dpicture = np.concatenate([dcolors.asnumpy(), ddepth.asnumpy()])
        through, last, dthrough = (host_array(x)[0] for x in (through, last, dthrough))
        gradients = draw_gradient(arrays, camera, seen, through, last, dpicture, dthrough)
        return *map(Tensor.from_numpy, gradients), *map(ops.zeros_like, inputs[5:])

    def _look(self, *inputs: Tensor):
        from openlrm.ops.host.splatting import as_arrays, camera_numbers, look

        arrays = as_arrays(*map(host_array, inputs[:5]))
        camera = camera_numbers(*map(host_array, inputs[5:]), self.height, self.width)
        return arrays, camera, look(arrays, camera, self.height, self.width)


def list_gaussians(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    colors: Tensor,
    c2w: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    length: int | None = None,
) -> Lists:
    """List the Gaussians that reach each tile of 16 x 16 pixels, on the host, for `TileSplat`.

    Args:
        means: (N, 3), and the next four as in `splat`.
        scales: (N, 3).
        rotations: (N, 4).
        opacities: (N, 1).
        colors: (N, 3).
        c2w: (3, 4) or (4, 4).
        intrinsics: (4,).
        size: (H, W) pixels.
        length: K; without it as long as needed, a multiple of 64, which compiles a graph anew when it changes. The
            nearest are kept; a warning tells how many were dropped.

    Raises:
        UserError: a Gaussian's number or the camera is not usable.
    """
    from openlrm.ops.host.splatting import as_arrays, camera_numbers, list_tiles, look

    arrays = as_arrays(*map(host_array, (means, scales, rotations, opacities, colors)))
    camera = camera_numbers(host_array(c2w), host_array(intrinsics), *size)
    indices, dropped = list_tiles(look(arrays, camera, *size), len(arrays[0]), *size, length)
    if dropped:
        _log.warning(
            "lists of %d Gaussians a tile are too short: %d pairs of Gaussian and tile left out, the farthest",
            indices.shape[1],
            dropped,
        )
    return Lists(Tensor(camera.astype(np.float32)), Tensor.from_numpy(indices), dropped)


def splat(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    colors: Tensor,
    c2w: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    background: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """A picture of Gaussians, with gradients of the first five; PyNative.

    A graph cannot sort Gaussians: there, `list_gaussians` comes before and `TileSplat` is the part inside.

    Args:
        means: (N, 3) world positions.
        scales: (N, 3) standard deviations along the axes.
        rotations: (N, 4) unit quaternions w, x, y, z.
        opacities: (N, 1) in [0, 1].
        colors: (N, 3).
        c2w: (3, 4) or (4, 4) camera-to-world, axes right, up, backward.
        intrinsics: (4,) fx, fy, cx, cy over the picture's width and height.
        size: (H, W) pixels.
        background: (3,), the colour behind all.

    Returns:
        rgb (3, H, W) in [0, 1], depth (1, H, W) as the sum of weights times depths, not divided by alpha, and alpha
        (1, H, W).

    Raises:
        UserError: a number of a Gaussian is not finite (it is named), or the camera is not usable.
    """
    height, width = size
    if not host_kernels():
        lists = list_gaussians(means, scales, rotations, opacities, colors, c2w, intrinsics, size)
        tile_splat = TileSplat(height, width, lists.indices.shape[1])
        return tile_splat(means, scales, rotations, opacities, colors, lists.camera, lists.indices, background)
    inputs = means, scales, rotations, opacities, colors, c2w, intrinsics
    seen, depth, through, _ = HostSplat(height, width)(*inputs)
    return ops.clamp(seen + through * background.reshape(3, 1, 1), 0.0, 1.0), depth, 1 - through
