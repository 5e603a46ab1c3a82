"""Compiled loops of the field: planes and decoder at points, with the decoder's first layer folded into the planes.

Rows are HIDDEN numbers; buffers are padded to a multiple of GROUP rows.
"""

from numba import njit

from openlrm.ops.host.functions import EXACT, REORDER, f32, sigmoid, softplus
from openlrm.ops.host.sizes import GROUP
from openlrm.ops.host.tiles import aligned, mix_rows, multiply_group
from openlrm.representations.triplane.host.field import HIDDEN
from openlrm.utils.compiled import compiled


@njit(fastmath=EXACT)
def cell(value, side):
    """Texel of the padded plane at or below a coordinate, and the fraction to the next."""
    half = f32(side - 2) * f32(0.5)
    # Outside, the coordinate stays on the ring, which is zero; so does a NaN, as long as 0 is the first argument.
    grid = min(max(f32(0), value * half + (half + f32(0.5))), f32(side - 1))
    texel = min(int(grid), side - 2)
    return texel, grid - f32(texel)


@njit(fastmath=EXACT)
def first_layer(field, x, y, z, out):
    """ReLU of the first layer at a point: 12 texels mixed (bilinear on planes (x, y), (x, z), (z, y))."""
    side = field.side
    column_x, fx = cell(x, side)
    row_y, fy = cell(y, side)
    texel_z, fz = cell(z, side)
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
def multiply(inputs, count, weight, bias, outputs):
    """Inputs W + b of `count` rows, a multiple of GROUP."""
    group = GROUP * HIDDEN
    for p in range(0, count * HIDDEN, group):
        out = outputs[p : p + group]
        for j in range(HIDDEN):
            out[j] = out[HIDDEN + j] = out[2 * HIDDEN + j] = out[3 * HIDDEN + j] = bias[j]
        multiply_group(inputs[p : p + group], weight, out)


@njit(fastmath=EXACT)
def hidden_layer(inputs, count, weight, bias, outputs):
    """ReLU(inputs W + b) of `count` rows, a multiple of GROUP."""
    multiply(inputs, count, weight, bias, outputs)
    for j in range(count * HIDDEN):
        outputs[j] = max(outputs[j], f32(0))


@njit(fastmath=EXACT)
def decode(field, hidden, other, count, decoded):
    """Other layers of the decoder: `hidden` after the first -> `decoded` (count, 4); overwrites both buffers."""
    padded = (count + GROUP - 1) // GROUP * GROUP
    hidden_layer(hidden, padded, field.weight1, field.bias1, other)
    hidden_layer(other, padded, field.weight2, field.bias2, hidden)
    head_layer(field, hidden, count, decoded)


@njit(fastmath=REORDER)
def head_layer(field, hidden, count, decoded):
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
def color(logit):
    """Colour of a logit, a little beyond [0, 1] on both sides."""
    return f32(1.002) * sigmoid(logit) - f32(0.001)


@njit(fastmath=EXACT)
def decode_points(field, points, start, count, hidden, other, decoded):
    """Raw density and colour logits of `count` points from `start` on; overwrites both buffers."""
    for i in range(count):
        x, y, z = points[start + i]
        first_layer(field, x, y, z, hidden[i * HIDDEN : (i + 1) * HIDDEN])
    decode(field, hidden, other, count, decoded)


@compiled(fastmath=EXACT)
def evaluate_points(field, points, density, rgb):
    """Density (P,) and colour (P, 3) at points (P, 3); no colour when `rgb` has no rows."""
    block = 64
    # One piece of memory: loops that look whether their arrays overlap then decide, and round, alike in every call.
    room = aligned(2 * block * HIDDEN + 5 * block)
    hidden, other = room[: block * HIDDEN], room[block * HIDDEN : 2 * block * HIDDEN]
    decoded = room[2 * block * HIDDEN : 2 * block * HIDDEN + 4 * block].reshape((block, 4))
    found = room[2 * block * HIDDEN + 4 * block :]
    for start in range(0, len(points), block):
        count = min(block, len(points) - start)
        decode_points(field, points, start, count, hidden, other, decoded)
        for i in range(count):
            found[i] = softplus(decoded[i, 0] - f32(1))
        density[start : start + count] = found[:count]
        if len(rgb) > 0:
            for i in range(count):
                for c in range(3):
                    rgb[start + i, c] = color(decoded[i, 1 + c])


@compiled(fastmath=EXACT)
def evaluate_raw(field, points, out):
    """What the decoder gives (P, 4), as it is, at points (P, 3)."""
    block = 64
    room = aligned(2 * block * HIDDEN + 4 * block)
    hidden, other = room[: block * HIDDEN], room[block * HIDDEN : 2 * block * HIDDEN]
    decoded = room[2 * block * HIDDEN :].reshape((block, 4))
    for start in range(0, len(points), block):
        count = min(block, len(points) - start)
        decode_points(field, points, start, count, hidden, other, decoded)
        out[start : start + count] = decoded[:count]
