"""Compiled loops of the renderer: a row of pixels, or a list of rays, to colours.

Each ray is finished before the next begins, so that its samples (48 x 64 numbers a layer) stay in the L1 cache.
They release the GIL; the caller spreads them over threads.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, f32
from openlrm.ops.host.sizes import GROUP
from openlrm.ops.host.tiles import aligned
from openlrm.representations.triplane.host.decoder import color, decode, first_layer
from openlrm.representations.triplane.host.field import HIDDEN
from openlrm.representations.triplane.host.rays import cube_span, pixel_direction
from openlrm.representations.triplane.host.sampling import importance_depths, interval_weights, merge
from openlrm.utils.compiled import compiled

EMPTY = f32(-np.inf)
"""Raw density outside the cube: softplus of any mean with it is zero."""
UNKNOWN, KNOWN = 0, 1
"""State of a sample."""


class Buffers(NamedTuple):
    """What a ray needs while it is marched, S samples in each of two passes; reused from ray to ray."""

    hidden: np.ndarray
    other: np.ndarray
    packed: np.ndarray
    decoded: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    depths: np.ndarray
    weights: np.ndarray
    cdf: np.ndarray
    raw: np.ndarray
    order: np.ndarray
    state: np.ndarray
    chosen: np.ndarray


@njit
def _buffers(samples):
    return Buffers(
        aligned((2 * samples + GROUP - 1) * HIDDEN),
        aligned((2 * samples + GROUP - 1) * HIDDEN),
        np.empty((2 * samples, 4), f32),
        np.empty((2 * samples, 4), f32),
        np.empty(samples, f32),
        np.empty(samples, f32),
        np.empty(2 * samples, f32),
        np.empty(2 * samples - 1, f32),
        np.empty(samples - 2, f32),
        np.empty(2 * samples, f32),
        np.empty(2 * samples, np.int64),
        np.empty(2 * samples, np.uint8),
        np.empty(2 * samples, np.int64),
    )


@njit(fastmath=EXACT)
def _is_occupied(field, origin, direction, depth):
    """Whether a sample lies in the cube, in a cell that may hold something."""
    x, y, z = depth * direction[0] + origin[0], depth * direction[1] + origin[1], depth * direction[2] + origin[2]
    # Written so that a NaN is outside.
    if not max(abs(x), abs(y), abs(z)) <= f32(1):
        return False
    side = len(field.occupied)
    half = f32(0.5) * f32(side)
    i, j, k = int((x + f32(1)) * half), int((y + f32(1)) * half), int((z + f32(1)) * half)
    return field.occupied[min(i, side - 1), min(j, side - 1), min(k, side - 1)] != 0


@njit(fastmath=EXACT)
def _sample_ray(field, origin, direction, depths, order, buffers):
    """Compute the samples of a ray that count, and are not computed yet.

    A sample counts when it or a neighbour on the ray is occupied: every interval that touches something occupied has
    both its ends then. The others have no density.

    Args:
        field: what is shown.
        origin: (3,).
        direction: (3,).
        depths: (S,), increasing.
        order: (S,), where the results belong in `buffers.decoded` and `buffers.state`.
        buffers: `decoded` is written, raw density and colour logits.
    """
    hidden, decoded, state, chosen = buffers.hidden, buffers.decoded, buffers.state, buffers.chosen
    last = len(depths) - 1
    count = 0
    before, here = False, _is_occupied(field, origin, direction, depths[0])
    for s in range(last + 1):
        after = s < last and _is_occupied(field, origin, direction, depths[s + 1])
        if (before or here or after) and state[order[s]] == UNKNOWN:
            x = depths[s] * direction[0] + origin[0]
            y = depths[s] * direction[1] + origin[1]
            z = depths[s] * direction[2] + origin[2]
            state[order[s]] = KNOWN
            if max(abs(x), abs(y), abs(z)) <= f32(1):
                first_layer(field, x, y, z, hidden[count * HIDDEN : (count + 1) * HIDDEN])
                chosen[count] = order[s]
                count += 1
        before, here = here, after
    decode(field, hidden, buffers.other, count, buffers.packed)
    for i in range(count):
        decoded[chosen[i]] = buffers.packed[i]


@njit(fastmath=EXACT)
def _march(field, origin, direction, near, far, noise, u, buffers):
    """Both passes over a ray: leaves depths, order, decoded and weights of all its samples in the buffers."""
    coarse, fine, depths, decoded = buffers.coarse, buffers.fine, buffers.depths, buffers.decoded
    order, state = buffers.order, buffers.state
    samples = len(coarse)
    step = f32(1 / (samples - 1))
    for k in range(samples):
        coarse[k] = near + (far - near) * ((f32(k) + noise[k]) * step)
    state[:], decoded[:, 0] = UNKNOWN, EMPTY
    for k in range(samples):
        order[k] = k
    _sample_ray(field, origin, direction, coarse, order[:samples], buffers)
    coarse_weights, raw = buffers.weights[: samples - 1], buffers.raw
    for k in range(samples):
        raw[k] = decoded[k, 0]
    interval_weights(raw[:samples], coarse, coarse_weights)
    importance_depths(coarse, coarse_weights, u, buffers.cdf, fine)
    merge(coarse, fine, order, depths)
    _sample_ray(field, origin, direction, depths, order, buffers)
    for k in range(2 * samples):
        raw[k] = decoded[order[k], 0]
    interval_weights(raw, depths, buffers.weights)


@njit(fastmath=EXACT)
def _composite(buffers, rgb):
    """Mix a ray's colours into `rgb` (3,), without background; return weighted depth and total weight."""
    decoded, order, depths, weights = buffers.decoded, buffers.order, buffers.depths, buffers.weights
    total, distance = f32(0), f32(0)
    rgb[:] = f32(0)
    before = f32(0)
    for k in range(len(depths)):
        # A sample takes half of each interval it ends.
        after = weights[k] if k < len(weights) else f32(0)
        share = f32(0.5) * (before + after)
        total += after
        before = after
        if share > 0:
            distance += share * depths[k]
            for c in range(3):
                rgb[c] += share * color(decoded[order[k], 1 + c])
    return distance, total


@compiled(fastmath=EXACT)
def render_rows(field, c2w, intrinsics, rows, noise, u, background, rgb, depth, mask):
    """Render rows of a frame.

    Args:
        field: what is shown.
        c2w: (3, 4) camera-to-world.
        intrinsics: fx, fy, cx, cy over the image's side.
        rows: (first, one past the last).
        noise: (S,) stratified noise of every ray.
        u: (S,) importance positions of every ray, increasing.
        background: grey level.
        rgb: (size, size, 3), written.
        depth: (size, size), written, between a ray's first and last coarse sample; the last one without weight.
        mask: (size, size), written.
    """
    size = len(mask)
    buffers = _buffers(len(noise))
    coarse = buffers.coarse
    origin = c2w[0, 3], c2w[1, 3], c2w[2, 3]
    for row in range(rows[0], rows[1]):
        for column in range(size):
            direction = pixel_direction(c2w, intrinsics, row, column, size)
            near, far = cube_span(origin, direction)
            _march(field, origin, direction, near, far, noise, u, buffers)
            distance, total = _composite(buffers, rgb[row, column])
            for c in range(3):
                rgb[row, column, c] += background * (f32(1) - total)
            seen = distance / total if total > 0 else coarse[-1]
            depth[row, column] = min(max(seen, coarse[0]), coarse[-1])
            mask[row, column] = total


@compiled(fastmath=EXACT)
def render_rays(field, rays, noise, u, mixed, depths):
    """Render rays one by one.

    Args:
        field: what is shown.
        rays: (B, 8): origin, unit direction, near, far.
        noise: (B, S) stratified noise.
        u: (B, S) importance positions, increasing along each ray.
        mixed: (B, 5), written: colour without background, weighted depth, total weight.
        depths: (B, 2 S), written: where the samples were taken, increasing.
    """
    buffers = _buffers(noise.shape[1])
    for r in range(len(rays)):
        ray = rays[r]
        _march(field, ray[:3], ray[3:6], ray[6], ray[7], noise[r], u[r], buffers)
        mixed[r, 3], mixed[r, 4] = _composite(buffers, mixed[r, :3])
        depths[r] = buffers.depths
