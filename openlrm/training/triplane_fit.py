"""Fit a triplane and its decoder to posed views of one object: the oracle triplane, what any LRM could at best give."""

from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from openlrm.losses import mask_loss, pixel_loss, total_variation
from openlrm.models.rendering import TriplaneSynthesizer
from openlrm.training.optim import AdamW
from openlrm.training.views import PosedViews
from openlrm.utils.images import blend

BACKGROUNDS = (0.0, 0.5, 1.0)


class FitLoss(nn.Cell):
    """Rendered regions against the views: colour + mask + total variation of the planes.

    Args:
        planes: (1, 3, C, H, W) start.
        synthesizer: the renderer, fitted too.
        region: side in pixels of the region rendered of every view.
        mask_weight: of the cross-entropy of opacity and alpha; it clears fog, which a squared difference forgives.
        tv_weight: of the planes' total variation.
    """

    def __init__(
        self, planes: Tensor, synthesizer: TriplaneSynthesizer, region: int, mask_weight: float, tv_weight: float
    ):
        super().__init__()
        self.planes = Parameter(planes, name="planes")
        self.synthesizer = synthesizer
        self.region, self.mask_weight, self.tv_weight = region, mask_weight, tv_weight

    def construct(
        self,
        cameras: Tensor,
        anchors: Tensor,
        resolutions: Tensor,
        backgrounds: Tensor,
        noise: Tensor,
        u: Tensor,
        target_rgb: Tensor,
        target_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Loss and its colour part; targets (1, M, 3, R, R) and (1, M, 1, R, R), the rest as the renderer takes it."""
        out = self.synthesizer(self.planes, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        colour = pixel_loss(out["images_rgb"], target_rgb)
        mask = mask_loss(out["images_weight"], target_mask, "bce")
        return colour + self.mask_weight * mask + self.tv_weight * total_variation(self.planes), colour


class TriplaneFit:
    """The optimisation: every step renders one region of every view.

    Args:
        loss: what is minimised; holds planes and renderer.
        views: the views fitted to.
        steps: length of the cosine schedule.
        plane_rate: Adam's first learning rate of the planes.
        decoder_rate: of the decoder.
        seed: of regions, backgrounds and samples.
    """

    def __init__(self, loss: FitLoss, views: PosedViews, steps: int, plane_rate: float, decoder_rate: float, seed: int):
        self.loss, self.views, self.steps = loss, views, steps
        self.random = np.random.default_rng(seed)
        decoder = list(loss.synthesizer.get_parameters())
        self.optimizers = [AdamW(group, (0.9, 0.99), 1e-15, 0.0) for group in ([loss.planes], decoder)]
        self.rates = (plane_rate, decoder_rate)
        self.gradient = ms.value_and_grad(loss, None, ms.ParameterTuple([loss.planes, *decoder]), has_aux=True)
        self.centres = [np.argwhere(rgba[..., 3] > 0.5) for rgba in views.rgba]

    def run(self) -> Iterator[tuple[float, float]]:
        """Do the steps; gives (loss, colour MSE) after each."""
        self.loss.set_train(True)
        for step in range(self.steps):
            (loss, colour), gradients = self.gradient(*self._batch())
            decay = cosine_decay(step, self.steps)
            for optimizer, part, rate in zip(self.optimizers, (gradients[:1], gradients[1:]), self.rates, strict=True):
                optimizer.step(part, rate * decay, step)
            yield float(loss.asnumpy()), float(colour.asnumpy())
        self.loss.set_train(False)

    def _batch(self) -> list[Tensor]:
        count, size = self.views.rgba.shape[:2]
        region, samples = self.loss.region, self.loss.synthesizer.samples
        anchors = np.stack([self._anchor(view, size) for view in range(count)])
        backgrounds = self.random.choice(BACKGROUNDS, size=(count, 1))
        rgb, mask = [], []
        for view, (row, column) in enumerate(anchors):
            patch = self.views.rgba[view, row : row + region, column : column + region]
            rgb.append(blend(patch, backgrounds[view, 0]))
            mask.append(patch[..., 3:])
        rays = count * region * region
        arrays = [
            self.views.cameras[None],
            anchors[None],
            np.full((1, count, 1), size),
            backgrounds[None],
            self.random.random((rays, samples)),
            self.random.random((rays, samples)),
            np.stack(rgb).transpose(0, 3, 1, 2)[None],
            np.stack(mask).transpose(0, 3, 1, 2)[None],
        ]
        return [Tensor(np.ascontiguousarray(a, np.float32)) for a in arrays]

    def _anchor(self, view: int, size: int) -> np.ndarray:
        """Upper left corner of a region: around a pixel of the object three times in four, else anywhere."""
        region, centres = self.loss.region, self.centres[view]
        if len(centres) and self.random.random() < 0.75:
            corner = centres[self.random.integers(len(centres))] - self.random.integers(region, size=2)
            return np.clip(corner, 0, size - region)
        return self.random.integers(size - region + 1, size=2)


def cosine_decay(step: int, steps: int) -> float:
    """Factor of the learning rates at a step: from 1 to a hundredth along half a cosine."""
    return 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / max(steps - 1, 1)))


def random_planes(channels: int, side: int, scale: float, seed: int) -> Tensor:
    """Planes (1, 3, C, side, side) ~ N(0, scale^2): a field to start from."""
    values = np.random.default_rng(seed).standard_normal((1, 3, channels, side, side)) * scale
    return Tensor(values.astype(np.float32))
