"""The renderer: planes and cameras -> images; planes and points -> field values."""

from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.ops import Linear, build_table, constant, marches_on_host, sort_by_depth, take_along_rays
from openlrm.representations.triplane.compositing import EMPTY_RAW_DENSITY, composite, finish, interval_weights
from openlrm.representations.triplane.field import TriplaneDecoder, density
from openlrm.representations.triplane.host.march import HostMarch
from openlrm.representations.triplane.host.points import HostPoints
from openlrm.representations.triplane.rays import cube_span, generate_rays
from openlrm.representations.triplane.sampling import (
    coarse_bounds,
    importance_depths,
    midpoint_noise,
    midpoint_u,
    stratified_depths,
)

# Points decoded at once outside training: 64 Ki points x 96 features stay in a CPU's cache.
_CHUNK = 65536


# Made when first used: nothing of MindSpore may exist before a job of several workers is set up.
@cache
def _host_march() -> HostMarch:
    return HostMarch()


@constant
def _empty_field() -> np.ndarray:
    """(4,): what is where nothing is, no density and no colour."""
    return np.array([EMPTY_RAW_DENSITY, 0, 0, 0], np.float32)


@cache
def _host_points() -> HostPoints:
    return HostPoints()


class TriplaneSynthesizer(nn.Cell):
    """Two-pass volume renderer of triplanes (N, 3, C, H, W).

    In PyNative on a CPU compiled loops stand for the operations. They round differently, which importance sampling
    makes up to 2e-5 of a colour, and have no gradient for cameras.

    Args:
        channels: C.
        samples_per_ray: samples of both passes together, half each; even.
        divided_depth: see `openlrm.representations.triplane.compositing.finish`.
    """

    def __init__(self, channels: int, samples_per_ray: int, divided_depth: bool = True):
        super().__init__()
        self.divided_depth = divided_depth
        self.samples = samples_per_ray // 2
        self.decoder = TriplaneDecoder(channels)

    def construct(
        self,
        planes: Tensor,
        cameras: Tensor,
        anchors: Tensor,
        resolutions: Tensor,
        bg_colors: Tensor,
        region_size: int | tuple[int, int],
        stratified_noise: Tensor | None = None,
        importance_u: Tensor | None = None,
    ) -> dict:
        """Render one region of each view.

        Args:
            planes: (N, 3, C, H, W).
            cameras: (N, M, 25), see `generate_rays`.
            anchors: (N, M, 2), row and column of the region in pixels.
            resolutions: (N, M, 1), side of the whole image in pixels.
            bg_colors: (N, M, 1), background grey level.
            region_size: R, side of the region in pixels, or its height and width.
            stratified_noise: any shape of N * M * R^2 * S/2 values in [0, 1), ray-major. None: random when
                training, 0.5 otherwise.
            importance_u: the same for the second pass. None: random when training, midpoints otherwise.

        Returns:
            dict of images_rgb (N, M, 3, R, R), images_depth (N, M, 1, R, R), images_weight (N, M, 1, R, R).
        """
        n, views = cameras.shape[0], cameras.shape[1]
        height, width = (region_size, region_size) if isinstance(region_size, int) else region_size
        count, rays = self.samples, height * width
        total = n * views * rays
        origins, directions = generate_rays(
            cameras.reshape(n * views, 25), anchors.reshape(-1, 2), resolutions.reshape(-1, 1), region_size
        )
        near, far = cube_span(origins, directions)
        if stratified_noise is None:
            stratified_noise = ops.rand(total, count) if self.training else midpoint_noise(total, count)
        if importance_u is None:
            importance_u = ops.rand(total, count) if self.training else midpoint_u(total, count)

        noise, u = stratified_noise.reshape(total, count), importance_u.reshape(total, count)
        near, far = near.reshape(-1), far.reshape(-1)
        march = self._march_on_host if marches_on_host() else self._march
        mixed = march(planes, origins, directions, near, far, noise, u)
        background = ops.broadcast_to(bg_colors.reshape(n * views, 1), (n * views, rays)).reshape(total, 1)
        colour, depth = finish(mixed, background, *coarse_bounds(near, far, noise), self.divided_depth)

        shape = (n, views, height, width)
        return {
            "images_rgb": colour.reshape((*shape, 3)).transpose(0, 1, 4, 2, 3),
            "images_depth": depth.reshape((*shape, 1)).transpose(0, 1, 4, 2, 3),
            "images_weight": mixed[:, 4:].reshape((*shape, 1)).transpose(0, 1, 4, 2, 3),
        }

    def forward_points(self, planes: Tensor, points: Tensor) -> dict:
        """Colour and density of the field at points.

        Args:
            planes: (N, 3, C, H, W).
            points: (N, P, 3); plane features are zero outside [-1, 1]^3.

        Returns:
            dict of rgb (N, P, 3) and sigma (N, P, 1), the density after softplus. The compiled loops of inference
            have no gradient: `set_train(True)` takes operations that have one.
        """
        if marches_on_host() and not self.training:
            rgb, sigma = _host_points()(planes, points, *self._weights())
            return {"rgb": rgb, "sigma": sigma}
        field = self._decode(build_table(planes), points)
        return {"rgb": field[..., 1:], "sigma": density(field[..., :1])}

    def forward_grid(self, planes: Tensor, grid_size: int, aabb: Tensor | None = None) -> dict:
        """Colour and density on a regular grid, corners included.

        Args:
            planes: (N, 3, C, H, W).
            grid_size: G points along each axis.
            aabb: (N, 2, 3) lowest and highest corner, or None for [-1, 1]^3.

        Returns:
            dict of rgb (N, G, G, G, 3) and sigma (N, G, G, G, 1), index order x, y, z.
        """
        n = planes.shape[0]
        line = np.linspace(0, 1, grid_size, dtype=np.float32)
        unit = Tensor(np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(1, -1, 3))
        if aabb is None:
            points = ops.broadcast_to(unit * 2 - 1, (n, grid_size**3, 3))
        else:
            points = aabb[:, :1] + unit * (aabb[:, 1:] - aabb[:, :1])
        out = self.forward_points(planes, points)
        return {key: value.reshape(n, grid_size, grid_size, grid_size, -1) for key, value in out.items()}

    def _march(self, planes, origins, directions, near, far, noise, u) -> Tensor:
        """Both passes over B rays of V views; near and far (B,), noise and u (B, S/2): (B, 5) of `composite`."""
        objects = planes.shape[0]
        table = build_table(planes)
        coarse = stratified_depths(near, far, noise)
        coarse_field = self._sample(table, origins, directions, coarse, objects)
        coarse_weights = interval_weights(ops.stop_gradient(coarse_field[..., 0]), coarse)
        fine = importance_depths(coarse, coarse_weights, u)
        fine_field = self._sample(table, origins, directions, fine, objects)
        depths, order = sort_by_depth(ops.concat([coarse, fine], axis=1))
        field = take_along_rays(ops.concat([coarse_field, fine_field], axis=1), order)
        return composite(field[..., 1:], interval_weights(field[..., 0], depths), depths)

    def _march_on_host(self, planes, origins, directions, near, far, noise, u) -> Tensor:
        """The same by compiled loops."""
        objects, total = planes.shape[0], near.shape[0]
        origins = ops.broadcast_to(origins.expand_dims(1), directions.shape).reshape(total, 3)
        rays = [origins, directions.reshape(total, 3), near.expand_dims(1), far.expand_dims(1)]
        of_object = [x.reshape(objects, total // objects, -1) for x in (ops.concat(rays, axis=1), noise, u)]
        mixed, _ = _host_march()(planes, *of_object, *self._weights())
        return mixed.reshape(total, 5)

    def _weights(self) -> list[Parameter]:
        """Of the decoder, in the order of `openlrm.representations.triplane.host.field.DECODER_NAMES`."""
        return [p for layer in self.decoder.net if isinstance(layer, Linear) for p in (layer.weight, layer.bias)]

    def _sample(self, table: Tensor, origins: Tensor, directions: Tensor, depths: Tensor, objects: int) -> Tensor:
        """Field (B, S, 4) at the depths of B rays; samples outside the cube have no density and no colour."""
        total, count = depths.shape
        views = origins.shape[0]
        points = depths.reshape(views, -1, count, 1) * directions.expand_dims(2) + origins.reshape(views, 1, 1, 3)
        inside = (ops.abs(points).max(axis=-1) <= 1).reshape(total, count, 1).astype(ms.float32)
        field = self._decode(table, points.reshape(objects, -1, 3)).reshape(total, count, 4)
        return field * inside + (1 - inside) * _empty_field()

    def _decode(self, table: Tensor, points: Tensor) -> Tensor:
        """(N, P, 4), in chunks that stay in the cache when no gradient is wanted."""
        count = points.shape[1]
        chunk = _CHUNK // points.shape[0]
        if self.training or count <= chunk:
            return self.decoder(table, points)
        parts = [self.decoder(table, points[:, start : start + chunk]) for start in range(0, count, chunk)]
        return ops.concat(parts, axis=1)
