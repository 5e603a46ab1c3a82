"""Depths of the samples on rays: stratified (coarse), then by importance (fine) (NeRF, Mildenhall et al., 2020)."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from openlrm.ops import constant, searchsorted_right, take_along_rays


@constant
def _steps(count: int) -> np.ndarray:
    """(1, count) from 0 to 1."""
    return np.linspace(0, 1, count, dtype=np.float32).reshape(1, count)


@constant
def _midpoints(count: int) -> np.ndarray:
    """(1, count): middle of each of equal parts of 0 to 1."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32).reshape(1, count)


def stratified_depths(near: Tensor, far: Tensor, noise: Tensor) -> Tensor:
    """Evenly spaced depths near..far inclusive, each moved by `noise` of a step.

    Args:
        near: (B,) of B rays.
        far: (B,).
        noise: (B, n) in [0, 1).

    Returns:
        (B, n), increasing.
    """
    count = noise.shape[1]
    span = (far - near).reshape(-1, 1)
    return near.reshape(-1, 1) + span * (_steps(count) + noise * (1 / (count - 1)))


def coarse_bounds(near: Tensor, far: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """First and last of the `stratified_depths` of each ray, both (B, 1)."""
    step = 1 / (noise.shape[1] - 1)
    near, span = near.reshape(-1, 1), (far - near).reshape(-1, 1)
    return near + span * (noise[:, :1] * step), near + span * (1 + noise[:, -1:] * step)


def importance_depths(depths: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Draw depths where the coarse weights are.

    The weights are widened (running max of 2, then mean of 2), + 0.01; the n - 3 inner ones make a CDF of n - 2
    entries. Entry k goes with interval midpoint k: half an interval nearer than the interval it describes. The
    released models were trained with that shift, so it is kept.

    Args:
        depths: (B, n) coarse depths.
        weights: (B, n - 1) compositing weights of the intervals between them.
        u: (B, K) in [0, 1).

    Returns:
        (B, K) depths, in the order of `u`; no gradient.
    """
    depths, weights = ops.stop_gradient(depths), ops.stop_gradient(weights)
    first, last = weights[:, :1], weights[:, -1:]
    widened = ops.maximum(ops.concat([first, weights], axis=1), ops.concat([weights, last], axis=1))
    smooth = (widened[:, 1:] + widened[:, :-1]) * 0.5 + 0.01
    pdf = smooth[:, 1:-1] + 1e-5
    pdf = pdf / pdf.sum(axis=1, keepdims=True)
    cdf = ops.concat([ops.zeros_like(pdf[:, :1]), ops.cumsum(pdf, 1)], axis=1)
    midpoints = (depths[:, 1:] + depths[:, :-1]) * 0.5

    above = searchsorted_right(cdf, u)
    below = ops.maximum(above - 1, ops.zeros_like(above))
    above = ops.minimum(above, ops.full_like(above, cdf.shape[1] - 1))
    pairs = ops.stack([cdf, midpoints[:, : cdf.shape[1]]], axis=-1)
    low, high = take_along_rays(pairs, below), take_along_rays(pairs, above)
    step = high[..., 0] - low[..., 0]
    step = ops.where(step < 1e-5, ops.ones_like(step), step)
    drawn = low[..., 1] + (u - low[..., 0]) / step * (high[..., 1] - low[..., 1])
    return ops.stop_gradient(drawn)


def midpoint_noise(rays: int, count: int) -> Tensor:
    """The fixed stratified noise of inference: half a step everywhere, (rays, count)."""
    return ops.full((rays, count), 0.5, dtype=ms.float32)


def midpoint_u(rays: int, count: int) -> Tensor:
    """The fixed importance positions of inference: (k + 0.5) / count on every ray, (rays, count)."""
    return ops.broadcast_to(_midpoints(count), (rays, count))
