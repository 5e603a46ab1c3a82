"""Loss of an LRM on a batch, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.losses import mask_loss, pixel_loss, total_variation
from openlrm.models.lrm import ModelLRM
from openlrm.parallel import ALONE, World
from openlrm.training.config import LossConfig
from openlrm.training.noise import ray_noise
from openlrm.training.schedule import perceptual_weight

Batch = dict[str, np.ndarray]
"""Arrays of a batch, see `openlrm.datasets`."""

PARTS = ("loss", "pixel", "perceptual", "mask", "tv", "opacity")
"""What is reported of a batch: the loss, its unweighted parts, and the mean opacity of the rendered pixels."""

_TARGETS = ("render_camera", "render_anchors", "render_full_resolutions", "render_bg_colors")


@dataclass(frozen=True)
class GradientResult:
    """Gradient of one batch.

    Attributes:
        parts: value of each of `PARTS`.
        gradients: one per trainable parameter, in order, times the loss scale.
        images: (N, M, 3, R, R) as rendered.
    """

    parts: dict[str, float]
    gradients: tuple[Tensor, ...]
    images: Tensor


class ImageLoss(nn.Cell):
    """Loss of rendered pixels.

    Args:
        config: weights.
        lpips: Cell (images, targets), each (V, 3, H, W), -> () or (V,); None leaves it out.
    """

    def __init__(self, config: LossConfig, lpips: nn.Cell | None = None):
        super().__init__()
        self.config, self.lpips = config, lpips

    def construct(self, rgb: Tensor, opacity: Tensor, target_rgb: Tensor, target_mask: Tensor, perceptual: Tensor):
        """Loss and its parts.

        Args:
            rgb: (N, M, 3, R, R).
            opacity: (N, M, 1, R, R).
            target_rgb: as rgb.
            target_mask: as opacity.
            perceptual: () weight of LPIPS in this step.

        Returns:
            () loss and (4,) pixel, perceptual, mask, mean opacity.
        """
        config = self.config
        pixel = pixel_loss(rgb, target_rgb, config.pixel_kind)
        loss, lpips, mask = config.pixel_weight * pixel, ops.zeros_like(pixel), ops.zeros_like(pixel)
        if self.lpips is not None:
            views = (-1, 3, rgb.shape[3], rgb.shape[4])
            lpips = self.lpips(rgb.reshape(views), target_rgb.reshape(views)).mean()
            loss = loss + perceptual * lpips
        if config.mask_weight > 0:
            mask = mask_loss(opacity, target_mask, config.mask_kind)
            loss = loss + config.mask_weight * mask
        return loss, ops.stack([pixel, lpips, mask, opacity.mean()])


class LRMLoss(nn.Cell):
    """Loss of a model on a batch: image loss of the rendered regions and total variation of the planes.

    Parameters keep the names they have in the model.

    Args:
        model: what is trained.
        image_loss: loss of pixels.
        tv_weight: weight of the total variation.
        region: side in pixels of the rendered regions.
    """

    def __init__(self, model: ModelLRM, image_loss: ImageLoss, tv_weight: float, region: int):
        super().__init__(auto_prefix=False)
        self.model, self.image_loss = model, image_loss
        self.tv_weight, self.region, self.frozen = tv_weight, region, model.config.encoder_freeze

    def construct(
        self, source, camera, cameras, anchors, resolutions, backgrounds, noise, u, rgb, mask, perceptual, scale
    ):
        """Loss times `scale`, then what is reported.

        Args:
            source: (N, 3, S, S) images, or features (N, K, D) of a frozen encoder.
            camera: (N, 16) source cameras.
            cameras: (N, M, 25).
            anchors: (N, M, 2).
            resolutions: (N, M, 1).
            backgrounds: (N, M, 1).
            noise: stratified draws.
            u: importance draws.
            rgb: (N, M, 3, R, R) target.
            mask: (N, M, 1, R, R) target.
            perceptual: () weight of LPIPS.
            scale: () loss scale.

        Returns:
            () scaled loss; (6,) in the order of `PARTS`; (N, M, 3, R, R) images.
        """
        features = source if self.frozen else self.model.encoder(source)
        planes = self.model.planes_from_features(features, camera)
        views = self.model.synthesizer(planes, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        loss, parts = self.image_loss(views["images_rgb"], views["images_weight"], rgb, mask, perceptual)
        tv = total_variation(planes)
        loss = loss + self.tv_weight * tv
        report = ops.concat([loss.reshape(1), parts[:3], tv.reshape(1), parts[3:]])
        return loss * scale, report, views["images_rgb"]


class LRMGradient:
    """Gradient of `LRMLoss` in one backward pass.

    Args:
        model: what is trained; its parameters keep the names they have in it.
        config: weights of the loss.
        region: side in pixels of the rendered regions.
        seed: of the samples on rays.
        lpips: see `ImageLoss`; needed when the perceptual weight is not 0.
        world: the workers; a batch is this one's slice of all their batches together, and so are the draws.
    """

    def __init__(
        self,
        model: ModelLRM,
        config: LossConfig,
        region: int,
        seed: int,
        lpips: nn.Cell | None = None,
        world: World = ALONE,
    ):
        self.model, self.config, self.region, self.seed, self.lpips = model, config, region, seed, lpips
        self.world = world
        self.parameters = named_trainable(model)
        self._functions = {}

    def __call__(self, batch: Batch, step: int, part: int = 0, scale: float = 1.0) -> GradientResult:
        """Gradient of a batch.

        Args:
            batch: arrays, see `openlrm.datasets`.
            step: chooses the draws and the perceptual weight.
            part: batch of the step, when gradients are accumulated.
            scale: loss scale.
        """
        self.model.set_train(True)
        inputs = self._inputs(batch, step, part)
        weight = perceptual_weight(step, self.config)
        function = self._function(weight > 0)
        (_, report, images), gradients = function(*inputs, _scalar(weight), _scalar(scale))
        parts = dict(zip(PARTS, report.asnumpy().tolist(), strict=True))
        return GradientResult(parts, gradients, images)

    def render(self, batch: Batch, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Planes (N, 3, C, H, W), colours (N, M, 3, R, R) and opacity (N, M, 1, R, R) of a batch; no gradient."""
        inputs = self._inputs(batch, step, 0)
        features = inputs[0] if self.model.config.encoder_freeze else self.model.encoder(inputs[0])
        planes = self.model.planes_from_features(features, inputs[1])
        views = self.model.synthesizer(planes, *inputs[2:6], self.region, *inputs[6:8])
        return planes.asnumpy(), views["images_rgb"].asnumpy(), views["images_weight"].asnumpy()

    def first_non_finite(self, batch: Batch, step: int, part: int = 0) -> str:
        """Name the first tensor of a step, in the order of computation, that holds NaN or infinity."""
        for name, value in self._stages(batch, step, part):
            if not np.isfinite(value.sum(dtype=np.float64)):
                return name
        return "nothing when computed again"

    def _stages(self, batch: Batch, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        yield from batch.items()
        yield from ((f"parameter {p.name}", p.asnumpy()) for p in self.model.get_parameters())
        names = ("planes", "rendered colours", "rendered opacity")
        yield from zip(names, self.render(batch, step), strict=True)
        result = self(batch, step, part)
        yield from ((f"loss part {name}", np.array(value)) for name, value in result.parts.items())
        for parameter, gradient in zip(self.parameters, result.gradients, strict=True):
            yield f"gradient of {parameter.name}", gradient.asnumpy()

    def _inputs(self, batch: Batch, step: int, part: int) -> list[Tensor]:
        objects, views = batch["render_camera"].shape[:2]
        rays = objects * views * self.region**2
        samples, world = self.model.synthesizer.samples, self.world
        draws = ray_noise(self.seed, step, part, rays, samples, world.rank, world.size)
        source = _tensor(batch["source_image"])
        if self.model.config.encoder_freeze:
            source = self.model.encoder(source)
        arrays = [batch["source_camera"], *(batch[key] for key in _TARGETS), *draws]
        return [source, *map(_tensor, [*arrays, batch["render_image"], batch["render_mask"]])]

    def _function(self, with_lpips: bool):
        """Gradient function with or without LPIPS: a part without weight is not computed."""
        if with_lpips not in self._functions:
            image_loss = ImageLoss(self.config, self.lpips if with_lpips else None)
            loss = LRMLoss(self.model, image_loss, self.config.tv_weight, self.region)
            loss.set_train(True)
            weights = ms.ParameterTuple(self.parameters)
            self._functions[with_lpips] = ms.value_and_grad(loss, None, weights, has_aux=True)
        return self._functions[with_lpips]


def named_trainable(model: nn.Cell) -> list[Parameter]:
    """Parameters that get a gradient, named by their place in the model."""
    found = []
    for name, parameter in model.parameters_and_names():
        parameter.name = name
        if parameter.requires_grad:
            found.append(parameter)
    return found


def _tensor(array: np.ndarray) -> Tensor:
    return Tensor(np.ascontiguousarray(array, np.float32))


def _scalar(value: float) -> Tensor:
    return Tensor(value, ms.float32)
