"""Volume rendering quadrature over the intervals between samples (Max, 1995; NeRF eq. 3)."""

from mindspore import Tensor, ops

from openlrm.ops import batch_matmul

# Raw density of a sample outside the cube: softplus of any mean with it is zero, and the sum of two stays finite in
# float16.
EMPTY_RAW_DENSITY = -3.0e4


def interval_weights(raw: Tensor, depths: Tensor) -> Tensor:
    """Weight of each interval: alpha times the transmittance before it.

    Density of an interval is softplus(mean of the two raw densities - 1).

    Args:
        raw: (B, S) raw densities at the samples.
        depths: (B, S), increasing.

    Returns:
        (B, S - 1), non-negative; sums to at most one on a ray.
    """
    thickness = ops.softplus((raw[:, 1:] + raw[:, :-1]) * 0.5 - 1) * (depths[:, 1:] - depths[:, :-1])
    alpha = 1 - ops.exp(-thickness)
    # exp of a sum, not a product of exps: the gradient of a product divides by its factors, which may be zero.
    transmittance = ops.exp(-ops.cumsum(thickness[:, :-1], 1))
    return ops.concat([alpha[:, :1], alpha[:, 1:] * transmittance], axis=1)


def composite(rgb: Tensor, weights: Tensor, depths: Tensor) -> Tensor:
    """Mix colours and depths of the intervals (means of their two ends).

    Args:
        rgb: (B, S, 3) colours at the samples.
        weights: (B, S - 1).
        depths: (B, S).

    Returns:
        (B, 5): colour without background, weighted depth, total weight.
    """
    total = weights.sum(axis=1, keepdims=True)
    # Sum over intervals of w * (c_k + c_k+1) / 2 as a sum over samples: each takes half of its two intervals.
    zero = ops.zeros_like(total)
    share = 0.5 * (ops.concat([weights, zero], axis=1) + ops.concat([zero, weights], axis=1))
    colour = batch_matmul()(share.expand_dims(1), rgb).squeeze(1)
    return ops.concat([colour, (share * depths).sum(axis=1, keepdims=True), total], axis=1)


def finish(
    mixed: Tensor, background: Tensor, lowest: Tensor, highest: Tensor, divided: bool = True
) -> tuple[Tensor, Tensor]:
    """Put rays on their background and turn weighted depth into depth.

    Args:
        mixed: (B, 5) of `composite`.
        background: (B, 1) grey level behind the object.
        lowest: (B, 1) depth of each ray's first coarse sample.
        highest: (B, 1) of its last one; the depth where there is no weight.
        divided: depth is the mean; otherwise the weighted sum, clamped to what all rays together have seen, which
            means something only where the weight is near 1.

    Returns:
        colour (B, 3) and depth (B, 1).
    """
    total = mixed[:, 4:]
    if not divided:
        depth = ops.minimum(ops.maximum(mixed[:, 3:4], lowest.min()), highest.max())
        return mixed[:, :3] + background * (1 - total), depth
    has_weight = total > 0
    depth = mixed[:, 3:4] / ops.where(has_weight, total, ops.ones_like(total))
    depth = ops.where(has_weight, depth, highest)
    return mixed[:, :3] + background * (1 - total), ops.minimum(ops.maximum(depth, lowest), highest)
