"""Loss of rendered pictures against true ones."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from openlrm.errors import UserError
from openlrm.losses import LPIPS, FrequencyLoss, mask_loss, pixel_loss
from openlrm.losses.frequency import check_whole_pictures, frequency_weights
from openlrm.losses.lpips import MIN_SIDE
from openlrm.training.config import ImageLossConfig

IMAGE_PARTS = ("pixel", "perceptual", "mask", "opacity", "frequency")
"""What `ImageLoss` reports: its unweighted parts, and the mean opacity of the rendered pixels."""


class ImageLoss(nn.Cell):
    """Loss of rendered pixels.

    Args:
        config: weights.
        lpips: Cell (images, targets), each (V, 3, H, W), -> () or (V,); None leaves it out.
    """

    def __init__(self, config: ImageLossConfig, lpips: nn.Cell | None = None):
        super().__init__()
        self.config, self.lpips = config, lpips
        self.frequency = make_frequency_loss(config)

    def construct(self, rgb: Tensor, opacity: Tensor, target_rgb: Tensor, target_mask: Tensor, perceptual: Tensor):
        """Loss and its parts.

        Args:
            rgb: (N, M, 3, R, R).
            opacity: (N, M, 1, R, R).
            target_rgb: as rgb.
            target_mask: as opacity.
            perceptual: () weight of LPIPS in this step.

        Returns:
            () loss and (5,) values of `IMAGE_PARTS`.
        """
        config = self.config
        pixel = pixel_loss(rgb, target_rgb, config.pixel_kind)
        loss, lpips, mask = config.pixel_weight * pixel, ops.zeros_like(pixel), ops.zeros_like(pixel)
        frequency = ops.zeros_like(pixel)
        if self.lpips is not None:
            views = (-1, 3, rgb.shape[3], rgb.shape[4])
            lpips = self.lpips(rgb.reshape(views), target_rgb.reshape(views)).mean()
            loss = loss + perceptual * lpips
        if config.mask_weight > 0:
            mask = mask_loss(opacity, target_mask, config.mask_kind)
            loss = loss + config.mask_weight * mask
        if self.frequency is not None:
            frequency = self.frequency(rgb, target_rgb)
            loss = loss + config.frequency_weight * frequency
        return loss, ops.stack([pixel, lpips, mask, opacity.mean(), frequency])


def make_frequency_loss(config: ImageLossConfig) -> FrequencyLoss | None:
    """The difference weighted by frequency that the options ask for; None when its weight is 0."""
    if config.frequency_weight == 0:
        return None
    options = (config.freq_weight, config.freq_cutoff, config.cutoff_unit, config.weight_on, config.normalise)
    return FrequencyLoss(*options)


def check_frequency_loss(config: ImageLossConfig, region: int, largest: int) -> None:
    """Check that a loss with weighted frequencies gets whole pictures, and that its cutoff cuts theirs.

    Args:
        config: weights.
        region: side in pixels of the rendered regions.
        largest: greatest side in pixels of the pictures they are cut out of.

    Raises:
        UserError: it does not.
    """
    if config.frequency_weight == 0:
        return
    check_whole_pictures(region, largest)
    frequency_weights(region, region, cutoff=config.freq_cutoff, unit=config.cutoff_unit)


def make_lpips(config: ImageLossConfig, region: int) -> LPIPS | None:
    """The perceptual loss that the options ask for; None when its weight is 0.

    Args:
        config: weights and backbone.
        region: side in pixels of the rendered regions.

    Raises:
        UserError: regions that are too small for it, or no backbone.
    """
    if config.perceptual_weight == 0:
        return None
    if region < MIN_SIDE:
        what = f"LPIPS needs regions of {MIN_SIDE} pixels, data.render_region_size={region}"
        raise UserError(what, "config", "or give train.loss.perceptual_weight=0")
    return LPIPS(config.lpips_backbone) if config.lpips_backbone else LPIPS()
