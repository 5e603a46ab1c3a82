"""Fit a surface to pictures of it: a grid of distances pulled by mask, depth and normals alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.errors import UserError
from openlrm.geometry.flexicubes_mesh import FlexiMesh, flexicubes
from openlrm.geometry.sdf import displace, grid_points, require_surface, sign_regulariser
from openlrm.geometry.shapes import ball
from openlrm.geometry.surface import SurfaceViews, render_surface


@dataclass(frozen=True, eq=False)
class SurfacePictures:
    """Pictures to fit a surface to, and their cameras; all numpy.

    Attributes:
        mask: (N, 1, H, W) share of the pixel that the object covers.
        depth: (N, 1, H, W) along the viewing axis; read where the mask is 1.
        normal: (N, 3, H, W) in the world's axes, -1..1 as 0..1; read where the mask is 1.
        w2c: (N, 4, 4) world to camera, OpenGL axes.
        intrinsics: (4,) or (N, 4): fx, fy, cx, cy divided by the picture's side.
    """

    mask: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    w2c: np.ndarray
    intrinsics: np.ndarray

    @classmethod
    def of_mesh(
        cls, vertices: np.ndarray, faces: np.ndarray, w2c: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
    ) -> SurfacePictures:
        """What cameras see of a known mesh (V, 3), (F, 3)."""
        views = render_surface(Tensor(np.asarray(vertices, np.float32)), faces, w2c, intrinsics, size)
        return cls(views.mask.asnumpy(), views.depth.asnumpy(), views.normal.asnumpy(), w2c, intrinsics)

    def take(self, chosen: np.ndarray) -> SurfacePictures:
        """Some of the views."""
        intrinsics = self.intrinsics if np.ndim(self.intrinsics) == 1 else self.intrinsics[chosen]
        return SurfacePictures(self.mask[chosen], self.depth[chosen], self.normal[chosen], self.w2c[chosen], intrinsics)


@dataclass(frozen=True)
class FitOptions:
    """How a surface is fitted.

    Attributes:
        resolution: cubes a side.
        scale: side of the cube around 0 that the grid fills.
        radius: of the ball to begin with, in the unit of the scale.
        steps: of Adam.
        views: pictures of a step.
        distance_rate: learning rate of the distances, which falls to a tenth over the last half.
        shape_rate: learning rate of offsets and weights, likewise.
        seed: of the order of the pictures.
    """

    resolution: int = 32
    scale: float = 2.1
    radius: float = 0.7
    steps: int = 250
    views: int = 6
    distance_rate: float = 0.01
    shape_rate: float = 0.02
    seed: int = 0


class SurfaceGrid(nn.Cell):
    """Free distances, offsets and weights of a FlexiCubes grid that begins as a ball."""

    def __init__(self, resolution: int, scale: float, radius: float):
        super().__init__()
        self.points = Tensor(grid_points((resolution,) * 3, scale).copy())
        distances = ball(radius)(self.points.asnumpy())
        self.sdf = Parameter(Tensor(distances.astype(np.float32)), name="sdf")
        self.offsets = Parameter(Tensor(np.zeros(self.points.shape, np.float32)), name="offsets")
        self.weights = Parameter(Tensor(np.zeros((resolution,) * 3 + (21,), np.float32)), name="weights")

    def construct(self, training: bool = True) -> FlexiMesh:
        """The surface as it stands."""
        return flexicubes(self.sdf, self.weights, displace(self.points, self.offsets), training=training)


class _Adam:
    """Adam (Kingma and Ba, 2015) with a rate for each parameter."""

    def __init__(self, grid: SurfaceGrid, rates: tuple[float, ...], betas: tuple[float, float] = (0.9, 0.99)):
        self.parameters, self.rates, self.betas = grid.trainable_params(), rates, betas
        self.moments = [tuple(Parameter(ops.zeros_like(p)) for _ in range(2)) for p in self.parameters]
        self.adam, self.done = ops.Adam(), 0

    def step(self, gradients: tuple[Tensor, ...], share: float) -> None:
        """Change the parameters by this share of their rates."""
        self.done += 1
        first, second = self.betas
        for p, moments, rate, gradient in zip(self.parameters, self.moments, self.rates, gradients, strict=True):
            self.adam(p, *moments, first**self.done, second**self.done, rate * share, first, second, 1e-8, gradient)


def fit_surface(
    pictures: SurfacePictures,
    options: FitOptions | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> FlexiMesh:
    """Find the surface that pictures show.

    Args:
        pictures: from all around.
        options: how.
        progress: called with the number of steps done and the loss.

    Returns:
        the surface; its faces are two for each quad.

    Raises:
        UserError: the surface vanished on the way.
    """
    options = options or FitOptions()
    if not 1 <= options.views <= len(pictures.w2c):
        raise UserError(f"views={options.views} of {len(pictures.w2c)} pictures cannot be looked at in a step")
    grid = SurfaceGrid(options.resolution, options.scale, options.radius)
    optimizer = _Adam(grid, (options.distance_rate, options.shape_rate, options.shape_rate))

    def loss_of(seen: SurfacePictures) -> Tensor:
        mesh = grid()
        views = render_surface(mesh.vertices, mesh.faces, seen.w2c, seen.intrinsics, seen.mask.shape[2:])
        shape = 0.25 * mesh.deviations.mean() + 0.001 * sign_regulariser([grid.sdf])
        return picture_loss(views, seen) + shape

    step = ms.value_and_grad(loss_of, None, grid.trainable_params())
    rng, order = np.random.default_rng(options.seed), np.empty(0, np.int64)
    for done in range(options.steps):
        if len(order) < options.views:
            order = rng.permutation(len(pictures.w2c))
        chosen, order = order[: options.views], order[options.views :]
        require_surface(grid.sdf.asnumpy())
        loss, gradients = step(pictures.take(chosen))
        # Full steps in the first half, then down to a tenth.
        optimizer.step(gradients, 0.1 ** max(0.0, 2 * done / options.steps - 1))
        if progress:
            progress(done + 1, float(loss))
    require_surface(grid.sdf.asnumpy())
    return grid(training=False)


def picture_loss(views: SurfaceViews, pictures: SurfacePictures) -> Tensor:
    """Mean squared difference of masks; of depth and normals the mean difference where both show the surface."""
    covered = np.stack([view.face >= 0 for view in views.visible])[:, None]
    common = Tensor((covered & (pictures.mask > 0.999)).astype(np.float32))
    share = 1 / ops.clamp(common.sum(), 1)
    mask = ((views.mask - Tensor(pictures.mask)) ** 2).mean()
    depth = ((views.depth - Tensor(pictures.depth)).abs() * common).sum() * share
    normal = ((2 * (views.normal - Tensor(pictures.normal))) ** 2 * common).sum() * share
    return mask + depth + 0.2 * normal
