"""Loss of an LRM on a batch."""

from __future__ import annotations

from mindspore import nn, ops

from openlrm.families.lrm.model import ModelLRM
from openlrm.losses import total_variation
from openlrm.training.image_loss import ImageLoss

PARTS = ("loss", "pixel", "perceptual", "mask", "tv", "opacity", "frequency")
"""What is reported of a batch: the loss, its unweighted parts, and the mean opacity of the rendered pixels."""


class LRMLoss(nn.Cell):
    """Loss of a model on a batch: image loss of the rendered regions and total variation of the planes.

    Parameters keep the names they have in the model.

    Args:
        model: what is trained.
        image_loss: loss of pixels.
        tv_weight: weight of the total variation.
        region: side in pixels of the rendered regions.
        frozen: whether the encoder is not trained; its features then take the place of the pictures.
    """

    def __init__(self, model: ModelLRM, image_loss: ImageLoss, tv_weight: float, region: int, frozen: bool):
        super().__init__(auto_prefix=False)
        self.model, self.image_loss = model, image_loss
        self.tv_weight, self.region, self.frozen = tv_weight, region, frozen

    def construct(
        self, source, camera, cameras, anchors, resolutions, backgrounds, noise, u, rgb, mask, perceptual, scale
    ):
        """Loss times `scale`, then what is reported.

        Args:
            source: images (N, 3, S, S) or (N, K, 3, S, S), or what a frozen encoder makes of them.
            camera: (N, 16) or (N, K, 16) source cameras.
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
            () scaled loss; (7,) in the order of `PARTS`; (N, M, 3, R, R) images.
        """
        features = source if self.frozen else self.model.features(source)
        planes = self.model.planes_from_features(features, camera)
        views = self.model.synthesizer(planes, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        loss, parts = self.image_loss(views["images_rgb"], views["images_weight"], rgb, mask, perceptual)
        tv = total_variation(planes)
        loss = loss + self.tv_weight * tv
        report = ops.concat([loss.reshape(1), parts[:3], tv.reshape(1), parts[3:]])
        return loss * scale, report, views["images_rgb"]
