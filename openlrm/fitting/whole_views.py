"""Planes fitted to whole views of an object with the decoder as it is: oracle planes and test-time optimisation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.analysis.bands import low_mask
from openlrm.datasets import PosedViews
from openlrm.fitting.triplane import END, FittedTriplane, TriplaneFitTask
from openlrm.losses import pixel_loss, total_variation
from openlrm.ops import hartley
from openlrm.representations.triplane import Triplane, TriplaneSynthesizer
from openlrm.training.config import OptimConfig, RunConfig
from openlrm.training.parameters import trained_parameters


class FreePlanes(FittedTriplane):
    """Every number of the planes is free."""

    def current(self) -> Tensor:
        """Planes (1, 3, C, H, W) as they are."""
        return self.planes


class TokenPlanes(nn.Cell):
    """Planes by way of the tokens they are upsampled from.

    Args:
        tokens: (1, 3 r^2, D), what the transformer gives.
        upsampler: makes planes of them; not trained.
        synthesizer: the renderer.
    """

    def __init__(self, tokens: Tensor, upsampler: nn.Cell, synthesizer: TriplaneSynthesizer):
        super().__init__()
        self.planes = Parameter(tokens, name="planes")
        self.upsampler, self.synthesizer = upsampler, synthesizer

    def current(self) -> Tensor:
        """Planes (1, 3, C, H, W) as they are."""
        return self.upsampler(self.planes)


class LowPlanes(nn.Cell):
    """Only what lies below a cutoff is free.

    Args:
        start: (1, 3, C, H, W).
        cutoff: in Nyquist units.
        synthesizer: the renderer.
    """

    def __init__(self, start: Tensor, cutoff: float, synthesizer: TriplaneSynthesizer):
        super().__init__()
        self.start, self.synthesizer = start, synthesizer
        self.mask = Tensor(low_mask(*start.shape[-2:], cutoff).astype(np.float32))
        self.planes = Parameter(ops.zeros_like(start), name="planes")

    def current(self) -> Tensor:
        """Planes (1, 3, C, H, W) as they are."""
        return self.start + hartley(hartley(self.planes) * self.mask)


class WholeViewsLoss(nn.Cell):
    """Rendered views against true ones, and how far the planes may go from where they began.

    Args:
        field: what is fitted.
        size: side of the views in pixels.
        kind: "l1+mse" or "mse".
        prox_weight: of the mean squared change of the planes.
        tv_weight: of their total variation.
        start: (1, 3, C, H, W).
    """

    def __init__(self, field: nn.Cell, size: int, kind: str, prox_weight: float, tv_weight: float, start: Tensor):
        super().__init__(auto_prefix=False)
        self.field, self.size, self.kind = field, size, kind
        self.prox_weight, self.tv_weight, self.start = prox_weight, tv_weight, start

    def construct(self, cameras, anchors, resolutions, backgrounds, noise, u, target_rgb, target_mask, scale):
        """Scaled loss, (2,) loss and its colour part, pictures; arguments as `openlrm.fitting.triplane.FitLoss`."""
        planes = self.field.current()
        out = self.field.synthesizer(planes, cameras, anchors, resolutions, backgrounds, self.size, noise, u)
        colour = pixel_loss(out["images_rgb"], target_rgb)
        loss = colour
        if self.kind == "l1+mse":
            loss = loss + pixel_loss(out["images_rgb"], target_rgb, "l1")
        if self.prox_weight > 0:
            loss = loss + self.prox_weight * pixel_loss(planes, self.start)
        if self.tv_weight > 0:
            loss = loss + self.tv_weight * total_variation(planes)
        return loss * scale, ops.stack([loss, colour]), out["images_rgb"]


class WholeViewsTask(TriplaneFitTask):
    """`TriplaneFitTask` whose decoder is frozen and whose steps render whole views on white, at fixed samples.

    Args:
        field: `FreePlanes`, `TokenPlanes` or `LowPlanes`.
        views: the views fitted to, of the size they are rendered at.
        views_per_step: how many of them are drawn for a step; 0 takes one after another.
        rate: first learning rate.
        seed: of the draws.
        name: of the object.
        kind: see `WholeViewsLoss`.
        prox_weight: likewise.
        tv_weight: likewise.
    """

    def __init__(
        self,
        field: nn.Cell,
        views: PosedViews,
        views_per_step: int,
        rate: float,
        seed: int,
        name: str,
        kind: str = "l1+mse",
        prox_weight: float = 0.0,
        tv_weight: float = 0.0,
    ):
        size = views.rgba.shape[1]
        super().__init__(field, views, size, 0, 0, rate, 0, seed, name)
        self.parameters = trained_parameters(field, only=["planes"])
        self.views_per_step = views_per_step
        self.truth, self.alpha = views.on(1.0)
        start = Tensor(field.current().asnumpy().copy())
        self._loss = WholeViewsLoss(field, size, kind, prox_weight, tv_weight, start)

    def representation(self) -> Triplane:
        """The triplane as it is."""
        return Triplane(Tensor(self.model.current().asnumpy()), self.model.synthesizer)

    def run_config(
        self, steps: int, use_ema: bool = False, ema_decay: float = 0.99, save_steps: int = 200
    ) -> RunConfig:
        """The loop's options: Adam as published, a rate that falls along half a cosine to `END` of the first."""
        run = super().run_config(steps, use_ema, ema_decay, save_steps)
        optim = OptimConfig(start_learning_rate=self.rate, betas=[0.9, 0.999], weight_decay=0, clip_grad=False)
        schedule = dataclasses.replace(run.train.scheduler, end_learning_rate=END * self.rate)
        return dataclasses.replace(run, train=dataclasses.replace(run.train, optim=optim, scheduler=schedule))

    def batches(self, epoch: int, batch: int, epochs: int) -> Any:
        """One batch an epoch: views in turn, or drawn from seed and epoch alone."""
        if self.views_per_step:
            yield from super().batches(epoch, batch, epochs)
        number = epoch + batch
        while True:
            yield number, 0, self._whole(np.array([number % len(self.truth)]))
            number += 1

    def _draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        count = min(self.views_per_step, len(self.truth))
        return self._whole(random.choice(len(self.truth), count, replace=False))

    def _whole(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        count, size, samples = len(chosen), self.region, self.model.synthesizer.samples
        rays = count * size**2
        return {
            "cameras": self.views.cameras[chosen].render_record()[None],
            "anchors": np.zeros((1, count, 2)),
            "resolutions": np.full((1, count, 1), size),
            "backgrounds": np.ones((1, count, 1)),
            "noise": np.full((rays, samples), 0.5),
            "u": np.broadcast_to((np.arange(samples) + 0.5) / samples, (rays, samples)),
            "target_rgb": self.truth[chosen][None],
            "target_mask": self.alpha[chosen][None, :, None],
        }
