"""From a network's numbers to Gaussians."""

import math

from mindspore import Tensor, ops

OFFSETS = ("one_sided", "symmetric")
RAW = 14
"""Numbers of a Gaussian before activation: offset 3, opacity 1, scale 3, quaternion 4, colour 3."""


def activate(
    raw: Tensor, anchors: Tensor, offset_max: float, scale_max: float, offset: str = "one_sided"
) -> tuple[Tensor, ...]:
    """Means, scales, rotations, opacities and colours of the Gaussians of anchors (GeoLRM's head).

    mean = anchor + offset_max sigmoid(o), so above its anchor in x, y and z, or with `symmetric`
    anchor + offset_max (2 sigmoid(o) - 1); scale = scale_max sigmoid(s); the colour is 0.5 + c, cut to [0, 1] without
    a gradient outside.

    Args:
        raw: (B, S, K * 14), Gaussian by Gaussian.
        anchors: (B, S, 3).
        offset_max: farthest a Gaussian is from its anchor along an axis.
        scale_max: largest standard deviation.
        offset: one of OFFSETS.

    Returns:
        (B, S * K, 3), (B, S * K, 3), (B, S * K, 4), (B, S * K, 1), (B, S * K, 3).
    """
    batch, count, width = raw.shape
    raw = raw.reshape(batch, count, width // RAW, RAW)
    share = ops.sigmoid(raw[..., :3])
    share = 2 * share - 1 if offset == "symmetric" else share
    quaternion = raw[..., 7:11]
    # Below 1e-12 the quaternion is divided by that; the root has no gradient at 0.
    square = ops.clamp((quaternion * quaternion).sum(-1, keepdims=True), 1e-24, math.inf)
    parts = (
        anchors.reshape(batch, count, 1, 3) + offset_max * share,
        scale_max * ops.sigmoid(raw[..., 4:7]),
        quaternion / ops.sqrt(square),
        ops.sigmoid(raw[..., 3:4]),
        ops.clamp(raw[..., 11:], -0.5, 0.5) + 0.5,
    )
    return tuple(part.reshape(batch, -1, part.shape[-1]) for part in parts)
