"""Fit a triplane and its decoder to posed views of one object: the oracle triplane, what any LRM could at best give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.datasets import PosedViews, blend
from openlrm.losses import mask_loss, pixel_loss, total_variation
from openlrm.representations.triplane import Triplane, TriplaneSynthesizer
from openlrm.training.config import (
    OptimConfig,
    ReportConfig,
    RunConfig,
    SaverConfig,
    SchedulerConfig,
    TrainConfig,
    ValidationConfig,
)
from openlrm.training.parameters import trained_parameters
from openlrm.training.task import Task, tensor

BACKGROUNDS = (0.0, 0.5, 1.0)
BETAS, EPS = (0.9, 0.99), 1e-15
END = 0.01
"""Part of the first learning rates that the last step has."""


class FittedTriplane(nn.Cell):
    """Planes as parameters, and their renderer.

    Args:
        planes: (1, 3, C, H, W) start.
        synthesizer: the renderer.
    """

    def __init__(self, planes: Tensor, synthesizer: TriplaneSynthesizer):
        super().__init__()
        self.planes = Parameter(planes, name="planes")
        self.synthesizer = synthesizer


class FitLoss(nn.Cell):
    """Rendered regions against the views: colour + mask + total variation of the planes.

    Args:
        field: what is fitted.
        region: side in pixels of the region rendered of every view.
        mask_weight: of the cross-entropy of opacity and alpha; it clears fog, which a squared difference forgives.
        tv_weight: of the planes' total variation.
    """

    def __init__(self, field: FittedTriplane, region: int, mask_weight: float, tv_weight: float):
        super().__init__(auto_prefix=False)
        self.field = field
        self.region, self.mask_weight, self.tv_weight = region, mask_weight, tv_weight

    def construct(self, cameras, anchors, resolutions, backgrounds, noise, u, target_rgb, target_mask, scale):
        """Scaled loss, (2,) loss and its colour part, pictures.

        Args:
            cameras: (1, M, 25), this and the next five as the renderer takes them.
            anchors: (1, M, 2).
            resolutions: (1, M, 1).
            backgrounds: (1, M, 1).
            noise: stratified draws.
            u: importance draws.
            target_rgb: (1, M, 3, R, R).
            target_mask: (1, M, 1, R, R).
            scale: () loss scale.
        """
        field = self.field
        out = field.synthesizer(field.planes, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        colour = pixel_loss(out["images_rgb"], target_rgb)
        mask = mask_loss(out["images_weight"], target_mask, "bce")
        loss = colour + self.mask_weight * mask + self.tv_weight * total_variation(field.planes)
        return loss * scale, ops.stack([loss, colour]), out["images_rgb"]


class TriplaneFitTask(Task):
    """The fit as a run: every step renders one region of every view.

    Args:
        field: what is fitted.
        views: the views fitted to.
        region: side in pixels of the regions.
        mask_weight: see `FitLoss`.
        tv_weight: likewise.
        plane_rate: first learning rate of the planes.
        decoder_rate: of the decoder.
        seed: of regions, backgrounds and samples.
        name: of the object.
    """

    parts = ("loss", "pixel")
    per_epoch = 1

    def __init__(
        self,
        field: FittedTriplane,
        views: PosedViews,
        region: int,
        mask_weight: float,
        tv_weight: float,
        plane_rate: float,
        decoder_rate: float,
        seed: int,
        name: str,
    ):
        super().__init__()
        self.model, self.views, self.region, self.seed, self.objects = field, views, region, seed, [name]
        self.parameters = trained_parameters(field)
        self.rate = max(plane_rate, decoder_rate)
        self.shares = [rate / self.rate if self.rate else 1.0 for rate in (plane_rate, decoder_rate)]
        self._loss = FitLoss(field, region, mask_weight, tv_weight)
        self._centres = [np.argwhere(rgba[..., 3] > 0.5) for rgba in views.rgba]

    @property
    def factors(self) -> list[float]:
        """Of `rate`, the larger of the two."""
        planes, decoder = self.shares
        return [planes if p.name == "planes" else decoder for p in self.parameters]

    def representation(self) -> Triplane:
        """The triplane as it is."""
        return Triplane(self.model.planes.value(), self.model.synthesizer)

    def batches(self, epoch: int, batch: int, epochs: int) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
        """One batch an epoch, drawn from seed and epoch alone."""
        for number in count(epoch + batch):
            yield number, 0, self._draw(np.random.default_rng([self.seed, number]))

    def run_config(self, steps: int, use_ema: bool, ema_decay: float, save_steps: int) -> RunConfig:
        """The loop's options: Adam, rates that fall along half a cosine to `END`, checkpoints by steps."""
        optim = OptimConfig(start_learning_rate=self.rate, betas=list(BETAS), eps=EPS, weight_decay=0, clip_grad=False)
        schedule = SchedulerConfig(warmup_steps=0, end_learning_rate=END * self.rate)
        train = TrainConfig(optim=optim, scheduler=schedule, train_steps=steps, use_ema=use_ema, ema_decay=ema_decay)
        saver = SaverConfig(ckpt_save_interval=steps + 1, ckpt_save_steps=save_steps, ckpt_max_keep=2)
        report = ReportConfig(log_interval=100, image_interval=0, watch_interval=0)
        return RunConfig(train=train, val=ValidationConfig(val_interval=0), saver=saver, report=report, seed=self.seed)

    def loss(self, step: int) -> nn.Cell:
        """Always the same."""
        return self._loss

    def inputs(self, batch: Mapping[str, np.ndarray], step: int, part: int) -> list[Tensor]:
        """The arrays of a batch, in order."""
        return [tensor(array) for array in batch.values()]

    def pictures(self, batch: Mapping[str, np.ndarray], preview: Any) -> tuple[np.ndarray, np.ndarray]:
        """Regions asked for and rendered."""
        return batch["target_rgb"], preview.asnumpy()

    def _draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        views, size = self.views.rgba.shape[:2]
        region, samples = self.region, self.model.synthesizer.samples
        anchors = np.stack([self._anchor(random, view, size) for view in range(views)])
        backgrounds = random.choice(BACKGROUNDS, size=(views, 1))
        rgb, mask = [], []
        for view, (row, column) in enumerate(anchors):
            patch = self.views.rgba[view, row : row + region, column : column + region]
            rgb.append(blend(patch, backgrounds[view, 0]))
            mask.append(patch[..., 3:])
        rays = views * region * region
        return {
            "cameras": self.views.cameras.render_record()[None],
            "anchors": anchors[None],
            "resolutions": np.full((1, views, 1), size),
            "backgrounds": backgrounds[None],
            "noise": random.random((rays, samples)),
            "u": random.random((rays, samples)),
            "target_rgb": np.stack(rgb).transpose(0, 3, 1, 2)[None],
            "target_mask": np.stack(mask).transpose(0, 3, 1, 2)[None],
        }

    def _anchor(self, random: np.random.Generator, view: int, size: int) -> np.ndarray:
        """Upper left corner of a region: around a pixel of the object three times in four, else anywhere."""
        region, centres = self.region, self._centres[view]
        if len(centres) and random.random() < 0.75:
            corner = centres[random.integers(len(centres))] - random.integers(region, size=2)
            return np.clip(corner, 0, size - region)
        return random.integers(size - region + 1, size=2)


def random_planes(channels: int, side: int, scale: float, seed: int) -> Tensor:
    """Planes (1, 3, C, side, side) ~ N(0, scale^2): a field to start from."""
    values = np.random.default_rng(seed).standard_normal((1, 3, channels, side, side)) * scale
    return Tensor(values.astype(np.float32))
