"""Losses of GeoLRM's two stages."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from openlrm.families.geolrm.model import ProposalNetwork
from openlrm.families.geolrm.options import GaussianLossConfig
from openlrm.losses import mask_loss, pixel_loss
from openlrm.ops.splatting import splat

PROPOSAL_PARTS = ("loss", "bce", "affinity", "iou", "precision", "recall")
"""What is reported of a batch of the proposal stage: the loss, its two parts, and figures of cells above 0.5."""
VIEW_PARTS = ("loss", "pixel", "perceptual", "mask", "depth", "depth_tv", "opacity")
"""What is reported of the reconstruction stage: the loss, its unweighted parts, the mean opacity of the pixels."""
_MOST_LOG = 100.0


def occupancy_losses(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy, and scene-class affinity (Cao and de Charette, "MonoScene", 2022) over the whole batch.

    Args:
        logits: (B, G, G, G).
        truth: likewise, 0 or 1.

    Returns:
        Two of (): the mean of cells; -ln of precision, recall and specificity, each at most 100.
    """
    # max(x, 0) - x t + ln(1 + exp(-|x|)): no exponential that overflows.
    bce = ops.relu(logits) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
    p = ops.sigmoid(logits)
    shares = (
        (truth * p).sum() / p.sum(),
        (truth * p).sum() / truth.sum(),
        ((1 - truth) * (1 - p)).sum() / (1 - truth).sum(),
    )
    affinity = sum(-ops.clamp(ops.log(share), -_MOST_LOG, 0.0) for share in shares)
    return bce.mean(), affinity


def occupancy_figures(logits: Tensor, truth: Tensor, threshold: float = 0.5) -> Tensor:
    """(3,): intersection over union, precision and recall of cells above the threshold; 0 where nothing is."""
    found = (logits > threshold).astype(ms.float32)
    both = (found * truth).sum()
    union = ops.maximum(found, truth).sum()
    parts = both / ops.maximum(union, Tensor(1.0)), both / ops.maximum(found.sum(), Tensor(1.0))
    return ops.stack([*parts, both / ops.maximum(truth.sum(), Tensor(1.0))])


class ProposalLoss(nn.Cell):
    """Loss of the proposal network; its parameters keep their names."""

    def __init__(self, network: ProposalNetwork):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, images: Tensor, intrinsics: Tensor, c2w: Tensor, truth: Tensor, scale: Tensor):
        """Loss times `scale`, (6,) values of PROPOSAL_PARTS, and the logits; arguments as the network's.

        Args:
            images: (B, V, 3, H, W).
            intrinsics: (B, V, 3, 3).
            c2w: (B, V, 4, 4).
            truth: (B, G, G, G), 0 or 1.
            scale: () loss scale.
        """
        logits = self.network(images, intrinsics, c2w)
        bce, affinity = occupancy_losses(logits, truth)
        loss = bce + affinity
        figures = ops.stop_gradient(occupancy_figures(logits, truth))
        return loss * scale, ops.concat([ops.stack([loss, bce, affinity]), figures]), logits


def depth_loss(depth: Tensor, truth: Tensor, picture: Tensor, counts: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """ln(1 + |difference|), less where the true picture has an edge to the right or below.

    Args:
        depth: (1, H, W) rendered.
        truth: (1, H, W).
        picture: (3, H, W) true colours.
        counts: two of (), pixels of the masks that the sums are divided by, last column and last row left out.
        mask: (1, H, W), 1 where the depth counts.
    """
    far = ops.log1p(ops.abs(depth - truth))
    right = ops.exp(-ops.abs(picture[:, :, :-1] - picture[:, :, 1:]).mean(0, keep_dims=True))
    below = ops.exp(-ops.abs(picture[:, :-1] - picture[:, 1:]).mean(0, keep_dims=True))
    rows = (right * far[:, :, :-1] * mask[:, :, :-1]).sum() / counts[0]
    return rows + (below * far[:, :-1] * mask[:, :-1]).sum() / counts[1]


def depth_variation(depth: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring columns plus that of rows; depth (1, H, W)."""
    columns, rows = depth[:, :, 1:] - depth[:, :, :-1], depth[:, 1:] - depth[:, :-1]
    return ops.abs(columns).mean() + ops.abs(rows).mean()


class ViewLoss(nn.Cell):
    """What one view adds to the loss of the reconstruction stage.

    Args:
        config: weights.
        size: H and W of the pictures.
        lpips: Cell (pictures, targets), each (1, 3, H, W), -> (1,); None leaves it out.
        with_depth: whether there is true depth.
    """

    def __init__(self, config: GaussianLossConfig, size: tuple[int, int], lpips: nn.Cell | None, with_depth: bool):
        super().__init__()
        self.config, self.size, self.lpips, self.with_depth = config, size, lpips, with_depth

    def construct(
        self,
        means: Tensor,
        scales: Tensor,
        rotations: Tensor,
        opacities: Tensor,
        colors: Tensor,
        c2w: Tensor,
        lens: Tensor,
        background: Tensor,
        rgb: Tensor,
        alpha: Tensor,
        depth: Tensor,
        mask: Tensor,
        counts: Tensor,
        share: Tensor,
        perceptual: Tensor,
    ):
        """Loss of a view as its share of the batch's.

        Args:
            means: (N, 3), and the next four as `splat` takes them.
            scales: (N, 3).
            rotations: (N, 4).
            opacities: (N, 1).
            colors: (N, 3).
            c2w: (4, 4).
            lens: (4,).
            background: (3,).
            rgb: (3, H, W) target.
            alpha: (1, H, W) target.
            depth: (1, H, W) target; any without depth.
            mask: (1, H, W) pixels whose depth counts.
            counts: (2,) what sums of depth are divided by, see `depth_loss`.
            share: () one over the number of views.
            perceptual: () weight of LPIPS in this step.

        Returns:
            () loss; (7,) values of VIEW_PARTS times the share; the picture (3, H, W).
        """
        config = self.config
        found, far, opacity = splat(means, scales, rotations, opacities, colors, c2w, lens, self.size, background)
        pixel = pixel_loss(found, rgb, config.pixel_kind)
        loss = config.pixel_weight * pixel
        lpips = covered = off = variation = ops.zeros_like(pixel)
        if self.lpips is not None:
            lpips = self.lpips(found.expand_dims(0), rgb.expand_dims(0)).mean()
            loss = loss + perceptual * lpips
        if config.mask_weight > 0:
            covered = mask_loss(opacity, alpha, config.mask_kind)
            loss = loss + config.mask_weight * covered
        loss = loss * share
        if self.with_depth:
            off = depth_loss(far, depth, rgb, (counts[0], counts[1]), mask)
            variation = depth_variation(far)
            loss = loss + config.depth_weight * off + share * config.depth_tv_weight * variation
        # The sums of depth are divided by the whole batch's counts already.
        parts = ops.stack([pixel, lpips, covered, off / share, variation, opacity.mean()]) * share
        return loss, ops.concat([loss.reshape(1), parts]), found
