"""Losses of both stages on a batch (InstantMesh, Xu et al., 2024, section 3.3)."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.families.instantmesh.model import ModelInstantMesh
from openlrm.families.instantmesh.options import LossConfig
from openlrm.geometry.sdf import sign_regulariser
from openlrm.geometry.topology import Topology
from openlrm.training.image_loss import IMAGE_PARTS, ImageLoss

VOLUME_PARTS = ("loss", *IMAGE_PARTS)
"""What is reported of a batch in stage 1."""
SURFACE_PARTS = (*VOLUME_PARTS, "depth", "normal", "sign", "deviation", "flex", "lead_out", "empty", "faces", "border")
"""What is reported in stage 2: also the share of objects without a surface, faces of an object, and the share of its
surface cubes that are at the border of the grid."""


class VolumeLoss(nn.Cell):
    """Stage 1: image loss of volume-rendered regions. Parameters keep the names they have in the model.

    Args:
        model: what is trained.
        image_loss: loss of pixels.
        region: side in pixels of the rendered regions.
    """

    def __init__(self, model: ModelInstantMesh, image_loss: ImageLoss, region: int):
        super().__init__(auto_prefix=False)
        self.model, self.image_loss, self.region = model, image_loss, region

    def construct(
        self, images, source_cameras, cameras, anchors, resolutions, backgrounds, noise, u, rgb, mask, perceptual, scale
    ):
        """Loss times `scale`, then what is reported.

        Args:
            images: (N, K, 3, S, S) views.
            source_cameras: (N, K, 16).
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
            () scaled loss; values of `VOLUME_PARTS`; (N, M, 3, R, R) images.
        """
        planes = self.model(images, source_cameras)
        views = self.model.synthesizer(planes, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        colours, opacity = (ops.clamp(views[key], 0, 1) for key in ("images_rgb", "images_weight"))
        loss, parts = self.image_loss(colours, opacity, rgb, mask, perceptual)
        return loss * scale, ops.concat([loss.reshape(1), parts]), colours


class SurfaceLoss(nn.Cell):
    """Stage 2: image loss of the surface's views, its depth and normals, and what keeps it in shape; PyNative.

    Args:
        model: what is trained.
        image_loss: loss of pixels.
        weights: of the other parts.
    """

    def __init__(self, model: ModelInstantMesh, image_loss: ImageLoss, weights: LossConfig):
        super().__init__(auto_prefix=False)
        self.model, self.image_loss, self.weights = model, image_loss, weights

    def construct(self, images, source_cameras, w2c, intrinsics, rgb, mask, depth, normal, perceptual, scale):
        """Loss times `scale`, then what is reported.

        Args:
            images: (N, K, 3, S, S) views.
            source_cameras: (N, K, 16).
            w2c: (N, M, 4, 4) of the target views, OpenGL axes.
            intrinsics: (N, M, 4) over the sides of what is rendered.
            rgb: (N, M, 3, R, R) target, on white.
            mask: (N, M, 1, R, R) target.
            depth: (N, M, 1, R, R) along the viewing axis; (0,) where there are no maps.
            normal: (N, M, 3, R, R) unit vectors in the world's axes; (0,) where there are no maps.
            perceptual: () weight of LPIPS.
            scale: () loss scale.

        Returns:
            () scaled loss; values of `SURFACE_PARTS`; (N, M, 3, R, R) images.
        """
        planes = self.model(images, source_cameras)
        synthesizer, weights, size = self.model.synthesizer, self.weights, rgb.shape[3:]
        w2c, intrinsics = w2c.asnumpy(), intrinsics.asnumpy()
        made = [synthesizer.geometry(planes[i : i + 1], guard=True) for i in range(len(w2c))]
        meshes = [geometry.mesh(training=True) for geometry in made]
        shown = [
            synthesizer.views(planes[i : i + 1], mesh, w2c[i], intrinsics[i], size) for i, mesh in enumerate(meshes)
        ]
        colours = ops.stack([img for img, _ in shown])
        seen = [views for _, views in shown]
        loss, parts = self.image_loss(colours, ops.stack([v.mask for v in seen]), rgb, mask, perceptual)
        zero = ops.zeros((), colours.dtype)
        of_depth = of_normal = zero
        if depth.ndim > 1 and weights.depth_weight > 0:
            of_depth = depth_loss(ops.stack([v.depth for v in seen]), depth, mask)
        if normal.ndim > 1 and weights.normal_weight > 0:
            covered = np.stack([[view.face >= 0 for view in v.visible] for v in seen])[:, :, None]
            of_normal = normal_loss(ops.stack([v.normal for v in seen]), normal, mask, Tensor(covered))
        sign = sign_regulariser([geometry.sdf for geometry in made]) if weights.sign_weight > 0 else zero
        deviation = ops.concat([mesh.deviations for mesh in meshes]).mean()
        flex = (ops.concat([geometry.weights for geometry in made]) ** 2).mean()
        lead_out = ops.stack([geometry.empty for geometry in made]).mean()
        loss = loss + weights.depth_weight * of_depth + weights.normal_weight * of_normal
        loss = loss + weights.sign_weight * sign + weights.deviation_weight * deviation
        loss = loss + weights.flex_weight * flex + weights.empty_weight * lead_out
        facts = [
            np.mean([geometry.was_empty for geometry in made]),
            np.mean([len(mesh.faces) for mesh in meshes]),
            np.mean([border_share(geometry.topology) for geometry in made]),
        ]
        shape = ops.stack([of_depth, of_normal, sign, deviation, flex, lead_out])
        report = ops.concat([loss.reshape(1), parts, shape, Tensor(np.array(facts, np.float32))])
        return loss * scale, report, colours


def depth_loss(depth: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean |difference| where the target's alpha is not 0; what the surface does not cover has depth 0."""
    there = (mask > 0).astype(depth.dtype)
    return ((depth - target).abs() * there).sum() / ops.clamp(there.sum(), 1)


def normal_loss(normal: Tensor, target: Tensor, mask: Tensor, covered: Tensor) -> Tensor:
    """1 - mean |n . n'| where the target's alpha is not 0 and the surface covers the pixel.

    The published loss counts pixels that are not covered too, with n = (-1, -1, -1), which has no meaning.

    Args:
        normal: (N, M, 3, H, W), -1..1 as 0..1.
        target: (N, M, 3, H, W) unit vectors.
        mask: (N, M, 1, H, W) the target's alpha.
        covered: (N, M, 1, H, W) bool.
    """
    common = ops.logical_and(mask > 0, covered).astype(normal.dtype)
    likeness = ((2 * normal - 1) * target).sum(2, keepdims=True).abs()
    return 1 - (likeness * common).sum() / ops.clamp(common.sum(), 1)


def border_share(topology: Topology) -> float:
    """Share of the surface cubes that are at the border of the grid: what is there may be cut open."""
    places = np.unravel_index(topology.cubes, topology.shape)
    at_border = [(place == 0) | (place == n - 1) for place, n in zip(places, topology.shape, strict=True)]
    return float(np.any(at_border, axis=0).mean()) if len(topology.cubes) else 0.0
