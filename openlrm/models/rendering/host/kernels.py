"""Compiled loops of the host renderer: the field at points, and a row of pixels from rays to colours.

Each ray is finished before the next begins, so that its samples (48 x 64 numbers a layer) stay in the L1 cache.
The maths is that of openlrm.models.rendering, which names the sources; here it is float32 loops.

They release the GIL; the caller spreads them over threads.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, REORDER, exponential, f32, sigmoid, softplus
from openlrm.ops.host.sizes import GROUP, WIDTH
from openlrm.ops.host.tiles import aligned, mix_rows, multiply_group, outer_group
from openlrm.utils.compiled import compiled

HIDDEN = WIDTH
"""Width of the decoder's hidden layers. Buffers are padded to a multiple of GROUP points."""
EMPTY = f32(-np.inf)
"""Raw density outside the cube: softplus of any mean with it is zero."""
UNKNOWN, KNOWN = 0, 1
"""State of a sample."""


class Field(NamedTuple):
    """A triplane and its decoder, laid out for the kernels; all float32, C-contiguous.

    Attributes:
        side: texels a side of a plane in its ring of zero texels, H + 2.
        table: (3 * side * side * HIDDEN,) planes times the decoder's first layer, channel-last, in that ring.
        bias: (HIDDEN,) of the first layer.
        weight1: (HIDDEN * HIDDEN,), input-major.
        bias1: (HIDDEN,).
        weight2: as weight1.
        bias2: (HIDDEN,).
        head: (4, HIDDEN), raw density and the colours' logits.
        head_bias: (4,).
        occupied: (G, G, G) uint8, cells of the cube by x, y, z that may hold density worth seeing; (1, 1, 1) of one
            where nothing is known.
    """

    side: int
    table: np.ndarray
    bias: np.ndarray
    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    occupied: np.ndarray


@njit(fastmath=EXACT)
def _cell(value, side):
    """Texel of the padded plane at or below a coordinate, and the fraction to the next."""
    half = f32(side - 2) * f32(0.5)
    # Outside, the coordinate stays on the ring, which is zero; so does a NaN, as long as 0 is the first argument.
    grid = min(max(f32(0), value * half + (half + f32(0.5))), f32(side - 1))
    texel = min(int(grid), side - 2)
    return texel, grid - f32(texel)


@njit(fastmath=EXACT)
def _first_layer(field, x, y, z, out):
    """ReLU of the first layer at a point: 12 texels mixed (bilinear on planes (x, y), (x, z), (z, y))."""
    side = field.side
    column_x, fx = _cell(x, side)
    row_y, fy = _cell(y, side)
    texel_z, fz = _cell(z, side)
    line, plane = side * HIDDEN, side * side * HIDDEN
    xy = row_y * line + column_x * HIDDEN
    xz = plane + texel_z * line + column_x * HIDDEN
    zy = 2 * plane + row_y * line + texel_z * HIDDEN
    gx, gy, gz = f32(1) - fx, f32(1) - fy, f32(1) - fz
    # fmt: off
    texels = (
        xy, xy + HIDDEN, xy + line, xy + line + HIDDEN,
        xz, xz + HIDDEN, xz + line, xz + line + HIDDEN,
        zy, zy + HIDDEN, zy + line, zy + line + HIDDEN,
    )
    shares = (
        gy * gx, gy * fx, fy * gx, fy * fx,
        gz * gx, gz * fx, fz * gx, fz * fx,
        gy * gz, gy * fz, fy * gz, fy * fz,
    )
    # fmt: on
    mix_rows(field.table, texels, shares, field.bias, out)


@njit(fastmath=EXACT)
def _multiply(inputs, count, weight, bias, outputs):
    """Inputs W + b of `count` rows, a multiple of GROUP."""
    group = GROUP * HIDDEN
    for p in range(0, count * HIDDEN, group):
        out = outputs[p : p + group]
        for j in range(HIDDEN):
            out[j] = out[HIDDEN + j] = out[2 * HIDDEN + j] = out[3 * HIDDEN + j] = bias[j]
        multiply_group(inputs[p : p + group], weight, out)


@njit(fastmath=EXACT)
def _hidden_layer(inputs, count, weight, bias, outputs):
    """ReLU(inputs W + b) of `count` rows, a multiple of GROUP."""
    _multiply(inputs, count, weight, bias, outputs)
    for j in range(count * HIDDEN):
        outputs[j] = max(outputs[j], f32(0))


@njit(fastmath=EXACT)
def _decode(field, hidden, other, count, decoded):
    """Other layers of the decoder: `hidden` after the first -> `decoded` (count, 4); overwrites both buffers."""
    padded = (count + GROUP - 1) // GROUP * GROUP
    _hidden_layer(hidden, padded, field.weight1, field.bias1, other)
    _hidden_layer(other, padded, field.weight2, field.bias2, hidden)
    _head(field, hidden, count, decoded)


@njit(fastmath=REORDER)
def _head(field, hidden, count, decoded):
    """Last layer: raw density and colour logits (count, 4)."""
    for p in range(count):
        row = hidden[p * HIDDEN : (p + 1) * HIDDEN]
        for c in range(4):
            head = field.head[c]
            total = f32(0)
            for j in range(HIDDEN):
                total += row[j] * head[j]
            decoded[p, c] = total + field.head_bias[c]


@njit(fastmath=EXACT)
def _color(logit):
    return f32(1.002) * sigmoid(logit) - f32(0.001)


@compiled(fastmath=EXACT)
def evaluate_points(field, points, density, rgb):
    """Density (P,) and colour (P, 3) at points (P, 3); no colour when `rgb` has no rows."""
    block = 64
    hidden, other = aligned(block * HIDDEN), aligned(block * HIDDEN)
    decoded = np.empty((block, 4), f32)
    for start in range(0, len(points), block):
        count = min(block, len(points) - start)
        for i in range(count):
            x, y, z = points[start + i]
            _first_layer(field, x, y, z, hidden[i * HIDDEN : (i + 1) * HIDDEN])
        _decode(field, hidden, other, count, decoded)
        for i in range(count):
            density[start + i] = softplus(decoded[i, 0] - f32(1))
        if len(rgb) > 0:
            for i in range(count):
                for c in range(3):
                    rgb[start + i, c] = _color(decoded[i, 1 + c])


@njit(fastmath=EXACT)
def _direction(camera, row, column, size):
    """Unit direction in world axes of the ray through a pixel's centre."""
    u, v = (f32(column) + f32(0.5)) / f32(size), (f32(row) + f32(0.5)) / f32(size)
    x, y, z = (u - camera[18]) / camera[16], (camera[21] - v) / camera[20], f32(-1)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    return (
        camera[0] * x + camera[1] * y + camera[2] * z,
        camera[4] * x + camera[5] * y + camera[6] * z,
        camera[8] * x + camera[9] * y + camera[10] * z,
    )


@njit(fastmath=EXACT)
def _span(camera, direction):
    """Where a ray enters and leaves the cube; far <= near when it misses."""
    near, far = f32(-np.inf), f32(np.inf)
    for axis in range(3):
        origin, slope = camera[4 * axis + 3], direction[axis]
        if abs(slope) < f32(1e-9):
            slope = f32(1e-9)
        a, b = (f32(-1) - origin) / slope, (f32(1) - origin) / slope
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@compiled()
def frame_span(camera, size):
    """Nearest entry and farthest exit over the rays of a frame that hit the cube; (1, 2) when none does."""
    nearest, farthest = f32(np.inf), f32(-np.inf)
    for row in range(size):
        for column in range(size):
            near, far = _span(camera, _direction(camera, row, column, size))
            if far > near:
                nearest, farthest = min(nearest, near), max(farthest, far)
    if farthest < nearest:
        return f32(1), f32(2)
    return nearest, farthest


@njit(fastmath=EXACT)
def _interval_weights(raw, depths, weights):
    """Alpha of each interval times the transmittance before it."""
    for i in range(len(depths) - 1):
        density = softplus((raw[i] + raw[i + 1]) * f32(0.5) - f32(1))
        weights[i] = f32(1) - exponential(-density * (depths[i + 1] - depths[i]))
    transmittance = f32(1)
    for i in range(len(depths) - 1):
        alpha = weights[i]
        weights[i] = alpha * transmittance
        transmittance *= f32(1) - alpha + f32(1e-10)


@njit(fastmath=EXACT)
def _importance_depths(depths, weights, u, cdf, fine):
    """Depths at increasing u of the widened weights, entry k at midpoint k (the released models' shift)."""
    last = len(weights) - 1
    total = f32(0)
    cdf[0] = f32(0)
    for i in range(1, last):
        # Mean of two running maxima of two; the outermost weights count twice.
        smooth = (max(weights[i - 1], weights[i]) + max(weights[i], weights[i + 1])) * f32(0.5) + f32(0.01)
        total += smooth + f32(1e-5)
        cdf[i] = total
    for i in range(1, last):
        cdf[i] /= total
    above = 0
    for k in range(len(fine)):
        while above < last and cdf[above] <= u[k]:
            above += 1
        low, high = max(above - 1, 0), min(above, last - 1)
        step = cdf[high] - cdf[low]
        if step < f32(1e-5):
            step = f32(1)
        start, stop = (depths[low] + depths[low + 1]) * f32(0.5), (depths[high] + depths[high + 1]) * f32(0.5)
        fine[k] = start + (u[k] - cdf[low]) / step * (stop - start)


@njit
def _merge(coarse, fine, order, depths):
    """Merge two increasing lists; `order` says where in (coarse, fine) each comes from."""
    i, j = 0, 0
    for k in range(len(depths)):
        if j == len(fine) or (i < len(coarse) and coarse[i] <= fine[j]):
            order[k], depths[k] = i, coarse[i]
            i += 1
        else:
            order[k], depths[k] = len(coarse) + j, fine[j]
            j += 1


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
                _first_layer(field, x, y, z, hidden[count * HIDDEN : (count + 1) * HIDDEN])
                chosen[count] = order[s]
                count += 1
        before, here = here, after
    _decode(field, hidden, buffers.other, count, buffers.packed)
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
    _interval_weights(raw[:samples], coarse, coarse_weights)
    _importance_depths(coarse, coarse_weights, u, buffers.cdf, fine)
    _merge(coarse, fine, order, depths)
    _sample_ray(field, origin, direction, depths, order, buffers)
    for k in range(2 * samples):
        raw[k] = decoded[order[k], 0]
    _interval_weights(raw, depths, buffers.weights)


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
                rgb[c] += share * _color(decoded[order[k], 1 + c])
    return distance, total


@compiled(fastmath=EXACT)
def render_rows(field, camera, rows, missed, noise, u, background, rgb, depth, mask, bounds):
    """Render rows of a frame.

    Args:
        field: what is shown.
        camera: (25,) camera-to-world matrix and intrinsics, see openlrm.models.rendering.rays.
        rows: (first, one past the last).
        missed: near and far of rays that miss the cube.
        noise: (S,) stratified noise of every ray.
        u: (S,) importance positions of every ray, increasing.
        background: grey level.
        rgb: (size, size, 3), written.
        depth: (size, size), written; +inf without weight, not clipped.
        mask: (size, size), written.
        bounds: (size, 2), written: smallest and largest coarse depth of each row.
    """
    size = len(mask)
    buffers = _buffers(len(noise))
    coarse = buffers.coarse
    origin = camera[3], camera[7], camera[11]
    for row in range(rows[0], rows[1]):
        bounds[row, 0], bounds[row, 1] = f32(np.inf), f32(-np.inf)
        for column in range(size):
            direction = _direction(camera, row, column, size)
            near, far = _span(camera, direction)
            hit = far > near
            if not hit:
                near, far = missed
            _march(field, origin, direction, near, far, noise, u, buffers)
            bounds[row, 0], bounds[row, 1] = min(bounds[row, 0], coarse[0]), max(bounds[row, 1], coarse[-1])
            distance, total = _composite(buffers, rgb[row, column])
            for c in range(3):
                rgb[row, column, c] += background * (f32(1) - total)
            depth[row, column] = distance / total if total > 0 else f32(np.inf)
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


class FieldGradient(NamedTuple):
    """Sums of the gradients of a `Field`, laid out as it is."""

    table: np.ndarray
    bias: np.ndarray
    weight1: np.ndarray
    bias1: np.ndarray
    weight2: np.ndarray
    bias2: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray


@njit(fastmath=REORDER)
def _weight_gradient(inputs, outer, count, weight, bias):
    """Add inputs^T outer to `weight` and the sum of outer's rows to `bias`; `count` rows, a multiple of GROUP."""
    group = GROUP * HIDDEN
    for p in range(0, count * HIDDEN, group):
        d = outer[p : p + group]
        for j in range(HIDDEN):
            bias[j] += d[j] + d[HIDDEN + j] + d[2 * HIDDEN + j] + d[3 * HIDDEN + j]
        outer_group(inputs[p : p + group], d, weight)


@njit(fastmath=EXACT)
def _mask(gradient, outputs, count):
    """Zero the gradient where a ReLU gave zero."""
    for j in range(count * HIDDEN):
        gradient[j] = gradient[j] if outputs[j] > 0 else f32(0)


@njit(fastmath=EXACT)
def _first_layer_gradient(side, x, y, z, gradient, table):
    """Transpose of the mixing in `_first_layer`: add a row's gradient to its 12 texels."""
    column_x, fx = _cell(x, side)
    row_y, fy = _cell(y, side)
    texel_z, fz = _cell(z, side)
    gx, gy, gz = f32(1) - fx, f32(1) - fy, f32(1) - fz
    line, plane = side * HIDDEN, side * side * HIDDEN
    at = row_y * line + column_x * HIDDEN
    _scatter(table, at, line, gradient, gy * gx, gy * fx, fy * gx, fy * fx)
    at = plane + texel_z * line + column_x * HIDDEN
    _scatter(table, at, line, gradient, gz * gx, gz * fx, fz * gx, fz * fx)
    at = 2 * plane + row_y * line + texel_z * HIDDEN
    _scatter(table, at, line, gradient, gy * gz, gy * fz, fy * gz, fy * fz)


@njit(fastmath=EXACT)
def _scatter(table, at, line, gradient, w0, w1, w2, w3):
    upper, lower = table[at : at + 2 * HIDDEN], table[at + line : at + line + 2 * HIDDEN]
    for j in range(HIDDEN):
        upper[j] += w0 * gradient[j]
        upper[HIDDEN + j] += w1 * gradient[j]
        lower[j] += w2 * gradient[j]
        lower[HIDDEN + j] += w3 * gradient[j]


@njit(fastmath=EXACT)
def _composite_gradient(decoded, depths, mixed, passed, before, gradient):
    """Gradient of a ray's raw densities and colour logits.

    Args:
        decoded: (S, 4) raw densities and logits in the order of depth; overwritten, logits by colours.
        depths: (S,).
        mixed: (5,) gradient of colour, weighted depth and total weight.
        passed: (S,) scratch: share of the light that passes each interval.
        before: (S,) scratch: transmittance before each interval.
        gradient: (S, 4), written.
    """
    last = len(depths) - 1
    through, weight = f32(1), f32(0)
    for k in range(last + 1):
        share = weight
        weight = f32(0)
        if k < last:
            density = softplus((decoded[k, 0] + decoded[k + 1, 0]) * f32(0.5) - f32(1))
            passed[k] = exponential(-density * (depths[k + 1] - depths[k]))
            before[k] = through
            weight = (f32(1) - passed[k]) * through
            through *= passed[k] + f32(1e-10)
        share = f32(0.5) * (share + weight)
        gradient[k, 0] = f32(0)
        for c in range(1, 4):
            part = sigmoid(decoded[k, c])
            gradient[k, c] = mixed[c - 1] * share * f32(1.002) * part * (f32(1) - part)
            decoded[k, c] = f32(1.002) * part - f32(0.001)
    # What a unit of light that passes an interval is worth behind it.
    behind = f32(0)
    for k in range(last - 1, -1, -1):
        worth = (depths[k] + depths[k + 1]) * mixed[3]
        for c in range(1, 4):
            worth += (decoded[k, c] + decoded[k + 1, c]) * mixed[c - 1]
        worth = f32(0.5) * worth + mixed[4]
        raw = (decoded[k, 0] + decoded[k + 1, 0]) * f32(0.5) - f32(1)
        slope = passed[k] * (depths[k + 1] - depths[k]) * sigmoid(raw)
        of_raw = f32(0.5) * before[k] * (worth - behind) * slope
        gradient[k, 0] += of_raw
        gradient[k + 1, 0] += of_raw
        behind = worth * (f32(1) - passed[k]) + behind * (passed[k] + f32(1e-10))


@njit(fastmath=REORDER)
def _head_gradient(field, sums, of_decoded, hidden, count, out):
    """Through the last layer: gradient (count, 4) of its output -> `out`, of its input before the ReLU."""
    head = field.head
    for p in range(count):
        row, target, d = hidden[p * HIDDEN : (p + 1) * HIDDEN], out[p * HIDDEN : (p + 1) * HIDDEN], of_decoded[p]
        d0, d1, d2, d3 = d[0], d[1], d[2], d[3]
        for c in range(4):
            sums.head_bias[c] += d[c]
        for j in range(HIDDEN):
            sums.head[0, j] += d0 * row[j]
            sums.head[1, j] += d1 * row[j]
            sums.head[2, j] += d2 * row[j]
            sums.head[3, j] += d3 * row[j]
            total = d0 * head[0, j] + d1 * head[1, j] + d2 * head[2, j] + d3 * head[3, j]
            target[j] = total if row[j] > 0 else f32(0)


@compiled(fastmath=EXACT)
def backpropagate_rays(field, transposed1, transposed2, rays, depths, mixed, sums):
    """Add the gradient of `render_rays` to `sums`; samples stay where they were, and are computed again.

    Args:
        field: what was shown.
        transposed1: (HIDDEN * HIDDEN,), the field's weight1, output-major.
        transposed2: weight2 likewise.
        rays: (B, 8): origin, unit direction, near, far.
        depths: (B, 2 S) of `render_rays`.
        mixed: (B, 5), gradient of its `mixed`.
        sums: `FieldGradient`.
    """
    samples = depths.shape[1]
    room = (samples + GROUP - 1) * HIDDEN
    first, second, third = aligned(room), aligned(room), aligned(room)
    of_later, of_earlier = aligned(room), aligned(room)
    nothing = np.zeros(HIDDEN, f32)
    inside, points = np.empty(samples, np.int64), np.empty((samples, 3), f32)
    packed, decoded = np.empty((samples, 4), f32), np.empty((samples, 4), f32)
    passed, before = np.empty(samples, f32), np.empty(samples, f32)
    of_decoded = np.empty((samples, 4), f32)
    for r in range(len(rays)):
        ray, where = rays[r], depths[r]
        count = 0
        for s in range(samples):
            x, y, z = where[s] * ray[3] + ray[0], where[s] * ray[4] + ray[1], where[s] * ray[5] + ray[2]
            decoded[s, 0] = EMPTY
            decoded[s, 1:] = f32(0)
            if max(abs(x), abs(y), abs(z)) <= f32(1):
                points[count, 0], points[count, 1], points[count, 2] = x, y, z
                _first_layer(field, x, y, z, first[count * HIDDEN : (count + 1) * HIDDEN])
                inside[count] = s
                count += 1
        if count == 0:
            continue
        padded = (count + GROUP - 1) // GROUP * GROUP
        _hidden_layer(first, padded, field.weight1, field.bias1, second)
        _hidden_layer(second, padded, field.weight2, field.bias2, third)
        _head(field, third, count, packed)
        for i in range(count):
            decoded[inside[i]] = packed[i]
        _composite_gradient(decoded, where, mixed[r], passed, before, of_decoded)
        for i in range(count):
            packed[i] = of_decoded[inside[i]]
        _head_gradient(field, sums, packed, third, count, of_later)
        of_later[count * HIDDEN : padded * HIDDEN] = f32(0)
        _weight_gradient(second, of_later, padded, sums.weight2, sums.bias2)
        _multiply(of_later, padded, transposed2, nothing, of_earlier)
        _mask(of_earlier, second, padded)
        _weight_gradient(first, of_earlier, padded, sums.weight1, sums.bias1)
        _multiply(of_earlier, padded, transposed1, nothing, of_later)
        _mask(of_later, first, padded)
        for i in range(count):
            row = of_later[i * HIDDEN : (i + 1) * HIDDEN]
            for j in range(HIDDEN):
                sums.bias[j] += row[j]
            _first_layer_gradient(field.side, points[i, 0], points[i, 1], points[i, 2], row, sums.table)
