"""Compiled loops of the renderer's gradient: each ray is computed again, then gone through backward."""

import numpy as np
from numba import njit

from openlrm.ops.host.functions import EXACT, REORDER, exponential, f32, sigmoid, softplus
from openlrm.ops.host.sizes import GROUP
from openlrm.ops.host.tiles import aligned, outer_group
from openlrm.representations.triplane.host.decoder import cell, first_layer, head_layer, hidden_layer, multiply
from openlrm.representations.triplane.host.field import HIDDEN
from openlrm.representations.triplane.host.render import EMPTY
from openlrm.utils.compiled import compiled


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
    """Transpose of the mixing in `first_layer`: add a row's gradient to its 12 texels."""
    column_x, fx = cell(x, side)
    row_y, fy = cell(y, side)
    texel_z, fz = cell(z, side)
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
                first_layer(field, x, y, z, first[count * HIDDEN : (count + 1) * HIDDEN])
                inside[count] = s
                count += 1
        if count == 0:
            continue
        padded = (count + GROUP - 1) // GROUP * GROUP
        hidden_layer(first, padded, field.weight1, field.bias1, second)
        hidden_layer(second, padded, field.weight2, field.bias2, third)
        head_layer(field, third, count, packed)
        for i in range(count):
            decoded[inside[i]] = packed[i]
        _composite_gradient(decoded, where, mixed[r], passed, before, of_decoded)
        for i in range(count):
            packed[i] = of_decoded[inside[i]]
        _head_gradient(field, sums, packed, third, count, of_later)
        of_later[count * HIDDEN : padded * HIDDEN] = f32(0)
        _weight_gradient(second, of_later, padded, sums.weight2, sums.bias2)
        multiply(of_later, padded, transposed2, nothing, of_earlier)
        _mask(of_earlier, second, padded)
        _weight_gradient(first, of_earlier, padded, sums.weight1, sums.bias1)
        multiply(of_earlier, padded, transposed1, nothing, of_later)
        _mask(of_later, first, padded)
        for i in range(count):
            row = of_later[i * HIDDEN : (i + 1) * HIDDEN]
            for j in range(HIDDEN):
                sums.bias[j] += row[j]
            _first_layer_gradient(field.side, points[i, 0], points[i, 1], points[i, 2], row, sums.table)
