"""Deferred back-propagation (ARF, Zhang et al., 2022; LRM, section 4.1): image losses at the memory of a patch.

Render the whole region without a gradient; take the image loss's gradient with respect to the pixels; render the
region again, square by square, each time sending the pixels' gradient on to planes and renderer; last send the
planes' gradient through the transformer. The sums are those of the direct gradient, in another order.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from openlrm.datasets import Item
from openlrm.errors import UserError
from openlrm.families.family import Family
from openlrm.families.lrm.loss import PARTS
from openlrm.families.lrm.model import ModelLRM
from openlrm.families.lrm.options import TrainLRMConfig
from openlrm.families.lrm.task import LRMTask
from openlrm.losses import total_variation
from openlrm.parallel import World
from openlrm.training.image_loss import ImageLoss
from openlrm.training.schedule import perceptual_weight
from openlrm.training.task import DeviceParts, GradientResult, scalar


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

    def __init__(self, model: ModelLRM, tv_weight: float, frozen: bool):
        super().__init__(auto_prefix=False)
        self.model, self.tv_weight, self.frozen = model, tv_weight, frozen

    def construct(self, source: Tensor, camera: Tensor, planes_gradient: Tensor, scale: Tensor):
        """() scalar and () total variation."""
        planes = self.model.planes_from_features(source if self.frozen else self.model.features(source), camera)
        tv = total_variation(planes)
        return (planes * planes_gradient).sum() + scale * self.tv_weight * tv, tv


class DeferredLRMTask(LRMTask):
    """`LRMTask`, its gradient taken square by square.

    Args:
        family: the LRM's.
        config: all options.
        world: the workers.
        model: with the weights that training starts from.

    Raises:
        UserError: as `LRMTask`, or squares that do not fill the region.
    """

    def __init__(self, family: Family, config: TrainLRMConfig, world: World, model: ModelLRM) -> None:
        super().__init__(family, config, world, model)
        self.side = config.train.deferred_region
        check_squares(self.region, self.side)
        renderer = {id(p) for p in self.model.synthesizer.get_parameters()}
        self.in_renderer = [id(p) in renderer for p in self.parameters]
        of_renderer = [p for p in self.parameters if id(p) in renderer]
        others = [p for p in self.parameters if id(p) not in renderer]
        self.square = _Gradient(SquareLoss(self.model.synthesizer, self.side), of_renderer)
        planes_loss = PlanesLoss(self.model, config.train.loss.tv_weight, self.frozen).set_train(True)
        self.planes = ms.value_and_grad(planes_loss, None, ms.ParameterTuple(others), has_aux=True) if others else None
        self._of_pixels = {}

    def gradient(self, batch: Item, step: int, part: int = 0, scale: float = 1.0) -> GradientResult:
        """Gradient of a batch; see `openlrm.training.task.Task.gradient`."""
        self.model.set_train(True)
        loss_config = self.config.train.loss
        source, camera, *view, noise, u, target_rgb, target_mask, weight = self.inputs(batch, step, part)
        features = source if self.frozen else self.model.features(source)
        planes = ops.stop_gradient(self.model.planes_from_features(features, camera))
        squares = self._squares(view, noise, u)
        rgb, opacity = self._assemble(planes, squares)
        of_pixels = self._pixel_gradient(perceptual_weight(step, loss_config) > 0)
        (loss, parts), pixel_gradients = of_pixels(rgb, opacity, target_rgb, target_mask, weight)
        factor = scalar(scale)
        rgb_gradient, mask_gradient = (g * factor for g in pixel_gradients)

        planes_gradient, renderer_gradients = None, None
        for inputs, rows, columns in squares:
            at = (slice(None), slice(None), slice(None), rows, columns)
            of_planes, of_weights = self.square(planes, *inputs, rgb_gradient[at], mask_gradient[at])
            if planes_gradient is None:
                planes_gradient, renderer_gradients = of_planes, of_weights
            else:
                planes_gradient = planes_gradient + of_planes
                renderer_gradients = [a + b for a, b in zip(renderer_gradients, of_weights, strict=True)]
        if self.planes is None:
            tv, other_gradients = total_variation(planes), ()
        else:
            (_, tv), other_gradients = self.planes(source, camera, planes_gradient, factor)

        total = loss + loss_config.tv_weight * tv
        values = ops.concat([total.reshape(1), parts[:3], tv.reshape(1), parts[3:]])
        report = DeviceParts(PARTS, lambda: values.asnumpy().tolist())
        of_renderer, of_others = iter(renderer_gradients), iter(other_gradients)
        ordered = tuple(next(of_renderer if inside else of_others) for inside in self.in_renderer)
        return GradientResult(report, ordered, rgb)

    def _squares(self, view: list[Tensor], noise: Tensor, u: Tensor) -> list[tuple[list[Tensor], slice, slice]]:
        """Renderer's inputs of every square, with its rows and columns."""
        cameras, anchors, resolutions, backgrounds = view
        objects, views = cameras.shape[:2]
        noise, u = (t.reshape(objects, views, self.region, self.region, -1) for t in (noise, u))
        squares = []
        for row in range(0, self.region, self.side):
            for column in range(0, self.region, self.side):
                rows, columns = slice(row, row + self.side), slice(column, column + self.side)
                draws = [t[:, :, rows, columns].reshape(-1, t.shape[-1]) for t in (noise, u)]
                corner = anchors + Tensor([row, column], ms.float32)
                squares.append(([cameras, corner, resolutions, backgrounds, *draws], rows, columns))
        return squares

    def _assemble(self, planes: Tensor, squares: list) -> tuple[Tensor, Tensor]:
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

    def _pixel_gradient(self, with_lpips: bool):
        """Gradient of the image loss with respect to the pixels."""
        if with_lpips not in self._of_pixels:
            loss = ImageLoss(self.config.train.loss, self.lpips if with_lpips else None)
            self._of_pixels[with_lpips] = ms.value_and_grad(loss, (0, 1), has_aux=True)
        return self._of_pixels[with_lpips]


class _Gradient:
    """Gradient with respect to the first argument and to parameters, of which there may be none."""

    def __init__(self, loss: nn.Cell, parameters: list[Parameter]):
        loss.set_train(True)
        self.with_weights = len(parameters) > 0
        self.function = ms.value_and_grad(loss, 0, ms.ParameterTuple(parameters) if parameters else None)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        _, gradients = self.function(*inputs)
        return gradients if self.with_weights else (gradients, ())
