"""Deferred back-propagation (ARF, Zhang et al., 2022; LRM, section 4.1): image losses at the memory of a patch.

Render the whole region without a gradient; take the image loss's gradient with respect to the pixels; render the
region again, square by square, each time sending the pixels' gradient on to planes and renderer; last send the
planes' gradient through the transformer. The sums are those of the direct gradient, in another order.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from openlrm.errors import UserError
from openlrm.losses import total_variation
from openlrm.models.lrm import ModelLRM
from openlrm.parallel import ALONE, World
from openlrm.training.config import LossConfig
from openlrm.training.schedule import perceptual_weight
from openlrm.training.step import PARTS, Batch, GradientResult, ImageLoss, LRMGradient, _scalar


def check_squares(region: int, side: int) -> None:
    """Check that squares fill the region.

    Args:
        region: side in pixels of the rendered regions.
        side: side in pixels of the squares.

    Raises:
        UserError: they do not.
    """
    if region % side:
        raise UserError(
            f"deferred_region={side} does not divide the rendered region of {region} pixels",
            hint=f"use a divisor such as {next(s for s in range(min(side, region), 0, -1) if region % s == 0)}",
        )


class SquareLoss(nn.Cell):
    """<rendered square, gradient of its pixels>: its gradient is the chain rule's next link."""

    def __init__(self, synthesizer: nn.Cell, side: int):
        super().__init__(auto_prefix=False)
        self.synthesizer, self.side = synthesizer, side

    def construct(self, planes, cameras, anchors, resolutions, backgrounds, noise, u, rgb_gradient, mask_gradient):
        """() scalar; arguments as the renderer's, gradients shaped as its pictures."""
        views = self.synthesizer(planes, cameras, anchors, resolutions, backgrounds, self.side, noise, u)
        return (views["images_rgb"] * rgb_gradient).sum() + (views["images_weight"] * mask_gradient).sum()


class PlanesLoss(nn.Cell):
    """<planes, their gradient> + total variation, through encoder (unless frozen) and transformer."""

    def __init__(self, model: ModelLRM, tv_weight: float):
        super().__init__(auto_prefix=False)
        self.model, self.tv_weight, self.frozen = model, tv_weight, model.config.encoder_freeze

    def construct(self, source: Tensor, camera: Tensor, planes_gradient: Tensor, scale: Tensor):
        """() scalar and () total variation."""
        planes = self.model.planes_from_features(source if self.frozen else self.model.encoder(source), camera)
        tv = total_variation(planes)
        return (planes * planes_gradient).sum() + scale * self.tv_weight * tv, tv


class DeferredGradient(LRMGradient):
    """The gradient of `LRMGradient`, square by square.

    Args:
        model: what is trained.
        config: weights of the loss.
        region: side in pixels of the rendered regions.
        seed: of the samples on rays.
        side: side in pixels of the squares; divides the region.
        lpips: see `ImageLoss`.
        world: the workers.

    Raises:
        UserError: squares that do not fill the region.
    """

    def __init__(
        self,
        model: ModelLRM,
        config: LossConfig,
        region: int,
        seed: int,
        side: int,
        lpips: nn.Cell | None = None,
        world: World = ALONE,
    ):
        super().__init__(model, config, region, seed, lpips, world)
        check_squares(region, side)
        self.side = side
        renderer = {id(p) for p in model.synthesizer.get_parameters()}
        self.in_renderer = [id(p) in renderer for p in self.parameters]
        weights = ms.ParameterTuple([p for p in self.parameters if id(p) in renderer])
        others = ms.ParameterTuple([p for p in self.parameters if id(p) not in renderer])
        self.square = ms.value_and_grad(SquareLoss(model.synthesizer, side).set_train(True), 0, weights)
        planes_loss = PlanesLoss(model, config.tv_weight).set_train(True)
        self.planes = ms.value_and_grad(planes_loss, None, others, has_aux=True)

    def __call__(self, batch: Batch, step: int, part: int = 0, scale: float = 1.0) -> GradientResult:
        """Gradient of a batch; arguments as `LRMGradient`'s."""
        self.model.set_train(True)
        source, camera, *view, noise, u, target_rgb, target_mask = self._inputs(batch, step, part)
        features = source if self.model.config.encoder_freeze else self.model.encoder(source)
        planes = ops.stop_gradient(self.model.planes_from_features(features, camera))
        squares = self._squares(view, noise, u)
        rgb, opacity = self._render(planes, squares)
        weight = perceptual_weight(step, self.config)
        (loss, parts), pixel_gradients = self._function(weight > 0)(rgb, opacity, target_rgb, target_mask, weight)
        factor = _scalar(scale)
        rgb_gradient, mask_gradient = (g * factor for g in pixel_gradients)

        planes_gradient, renderer_gradients = None, None
        for inputs, rows, columns in squares:
            at = (slice(None), slice(None), slice(None), rows, columns)
            _, (of_planes, of_weights) = self.square(planes, *inputs, rgb_gradient[at], mask_gradient[at])
            if planes_gradient is None:
                planes_gradient, renderer_gradients = of_planes, of_weights
            else:
                planes_gradient = planes_gradient + of_planes
                renderer_gradients = [a + b for a, b in zip(renderer_gradients, of_weights, strict=True)]
        (_, tv), other_gradients = self.planes(source, camera, planes_gradient, factor)

        parts, tv = parts.asnumpy().tolist(), float(tv.asnumpy())
        total = float(loss.asnumpy()) + self.config.tv_weight * tv
        report = dict(zip(PARTS, [total, *parts[:3], tv, parts[3]], strict=True))
        of_renderer, of_others = iter(renderer_gradients), iter(other_gradients)
        ordered = tuple(next(of_renderer if inside else of_others) for inside in self.in_renderer)
        return GradientResult(report, ordered, rgb)

    def _squares(self, view: list[Tensor], noise: Tensor, u: Tensor) -> list[tuple[list[Tensor], slice, slice]]:
        """Renderer's inputs of every square, with its rows and columns."""
        cameras, anchors, resolutions, backgrounds = view
        objects, views = cameras.shape[:2]
        noise, u = (t.asnumpy().reshape(objects, views, self.region, self.region, -1) for t in (noise, u))
        squares = []
        for row in range(0, self.region, self.side):
            for column in range(0, self.region, self.side):
                rows, columns = slice(row, row + self.side), slice(column, column + self.side)
                draws = [Tensor(t[:, :, rows, columns].reshape(-1, t.shape[-1])) for t in (noise, u)]
                corner = anchors + Tensor([row, column], ms.float32)
                squares.append(([cameras, corner, resolutions, backgrounds, *draws], rows, columns))
        return squares

    def _render(self, planes: Tensor, squares: list) -> tuple[Tensor, Tensor]:
        """Pictures (N, M, 3, R, R) and opacity (N, M, 1, R, R), without a gradient."""
        rendered = []
        for inputs, _, _ in squares:
            views = self.model.synthesizer(planes, *inputs[:4], self.side, *inputs[4:])
            rendered.append((views["images_rgb"], views["images_weight"]))
        count = self.region // self.side
        whole = []
        for parts in zip(*rendered, strict=True):
            lines = [ops.concat(parts[i * count : (i + 1) * count], axis=4) for i in range(count)]
            whole.append(ops.concat(lines, axis=3))
        return whole[0], whole[1]

    def _function(self, with_lpips: bool):
        """Gradient of the image loss with respect to the pixels."""
        if with_lpips not in self._functions:
            loss = ImageLoss(self.config, self.lpips if with_lpips else None)
            gradient = ms.value_and_grad(loss, (0, 1), has_aux=True)

            def function(rgb, opacity, target_rgb, target_mask, weight):
                (value, parts), gradients = gradient(rgb, opacity, target_rgb, target_mask, _scalar(weight))
                return (value, parts), gradients

            self._functions[with_lpips] = function
        return self._functions[with_lpips]
