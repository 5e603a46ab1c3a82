"""Gaussians seen by a camera: centres, ellipses and boxes in pixels, and the way back of their gradients.

Everything here is reckoned in float64 and kept in float32: the determinant of a needle's covariance loses three
digits in float32, and N Gaussians are few beside their pixels.
"""

import math

import numpy as np
from numba import njit

from openlrm.ops.host.functions import DIVIDES
from openlrm.utils.compiled import compiled

f32 = np.float32

# What the loops over pixels read of a Gaussian: one cache line.
X, Y = 0, 1
"""Centre in pixels."""
XX, XY, YY = 2, 3, 4
"""The conic times -log2(e) / 2, the middle one doubled: 2^(XX dx^2 + XY dx dy + YY dy^2) is the fall off the centre."""
OPACITY, RED, GREEN, BLUE, DEPTH = 5, 6, 7, 8, 9
LEFT, RIGHT, TOP, BOTTOM = 10, 11, 12, 13
"""First and last column and row that the ellipse reaches, inside the picture."""
RECORD = 16

# Sums over the pixels of a Gaussian that its gradients are made of.
ALPHA, DX, DY, DXX, DXY, DYY, DRED, DGREEN, DBLUE, DDEPTH = range(10)
SUMS = 10

# A camera as 20 numbers: the 3x4 matrix world -> (right, down, forward), focal lengths and principal point in pixels,
# and the four limits of x/z and y/z.
CAMERA = 20

NEAR = 0.2
"""Gaussians nearer than this are left out."""
BLUR = 0.3
"""Added to both variances, in pixels^2."""
LEAST = 1 / 255
"""Opacity below which a Gaussian does not touch a pixel."""
NOT_SEEN = f32(np.inf)
# Beyond these, float32 has no pixels left; nothing of sense is drawn from there.
_FARTHEST, _WIDEST = 1e9, 1e30
# Widens boxes, in pixels: the loops over pixels compare in float32.
_SLACK = 0.01
_HALF_LOG2_E = 0.5 * math.log2(math.e)


@njit
def _rotation(q):
    """Entries of the matrix of a unit quaternion (w, x, y, z), row by row."""
    w, x, y, z = float(q[0]), float(q[1]), float(q[2]), float(q[3])
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@njit
def _rotation_gradient(q, d):
    """Gradient of the quaternion, given that of the matrix's entries (3, 3)."""
    w, x, y, z = float(q[0]), float(q[1]), float(q[2]), float(q[3])
    return (
        2 * (x * (d[2, 1] - d[1, 2]) + y * (d[0, 2] - d[2, 0]) + z * (d[1, 0] - d[0, 1])),
        2 * (y * (d[0, 1] + d[1, 0]) + z * (d[0, 2] + d[2, 0]) + w * (d[2, 1] - d[1, 2]) - 2 * x * (d[1, 1] + d[2, 2])),
        2 * (x * (d[0, 1] + d[1, 0]) + z * (d[1, 2] + d[2, 1]) + w * (d[0, 2] - d[2, 0]) - 2 * y * (d[0, 0] + d[2, 2])),
        2 * (x * (d[0, 2] + d[2, 0]) + y * (d[1, 2] + d[2, 1]) + w * (d[1, 0] - d[0, 1]) - 2 * z * (d[0, 0] + d[1, 1])),
    )


@njit
def _in_camera(mean, camera):
    """Position in camera axes (right, down, forward)."""
    px, py, pz = float(mean[0]), float(mean[1]), float(mean[2])
    x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[3]
    y = camera[4] * px + camera[5] * py + camera[6] * pz + camera[7]
    z = camera[8] * px + camera[9] * py + camera[10] * pz + camera[11]
    return x, y, z


@njit
def _axes(rotation, camera, a, b, z):
    """The Gaussian's axes in the picture, (2, 3) of unit scale, and the rows of the map from world to picture.

    J W of Zwicker et al., "EWA splatting" (2002), linear at the centre; a, b are x/z and y/z within their limits.
    """
    fx, fy = camera[12] / z, camera[13] / z
    t0 = (fx * (camera[0] - a * camera[8]), fx * (camera[1] - a * camera[9]), fx * (camera[2] - a * camera[10]))
    t1 = (fy * (camera[4] - b * camera[8]), fy * (camera[5] - b * camera[9]), fy * (camera[6] - b * camera[10]))
    r0, r1, r2 = rotation
    u = (
        t0[0] * r0[0] + t0[1] * r1[0] + t0[2] * r2[0],
        t0[0] * r0[1] + t0[1] * r1[1] + t0[2] * r2[1],
        t0[0] * r0[2] + t0[1] * r1[2] + t0[2] * r2[2],
    )
    v = (
        t1[0] * r0[0] + t1[1] * r1[0] + t1[2] * r2[0],
        t1[0] * r0[1] + t1[1] * r1[1] + t1[2] * r2[1],
        t1[0] * r0[2] + t1[1] * r1[2] + t1[2] * r2[2],
    )
    return u, v, t0, t1


@njit
def _covariance(u, v, scale):
    """Variances and covariance in pixels^2, and their determinant as a sum of what is not negative: exact for needles.

    det(sum_k w_k w_k^T + e I) = e^2 + e sum_k |w_k|^2 + sum_{k<l} (w_k x w_l)^2 with w_k = s_k (u_k, v_k).
    """
    s0, s1, s2 = float(scale[0]), float(scale[1]), float(scale[2])
    u0, u1, u2, v0, v1, v2 = s0 * u[0], s1 * u[1], s2 * u[2], s0 * v[0], s1 * v[1], s2 * v[2]
    xx, xy, yy = u0 * u0 + u1 * u1 + u2 * u2, u0 * v0 + u1 * v1 + u2 * v2, v0 * v0 + v1 * v1 + v2 * v2
    c01, c02, c12 = u0 * v1 - u1 * v0, u0 * v2 - u2 * v0, u1 * v2 - u2 * v1
    determinant = BLUR * BLUR + BLUR * (xx + yy) + c01 * c01 + c02 * c02 + c12 * c12
    return xx + BLUR, xy, yy + BLUR, determinant


@compiled(**DIVIDES)
def project(arrays, camera, width, height, first, last, records, depths):
    """Gaussians first..last as the camera sees them.

    Args:
        arrays: means (N, 3) in the world, scales (N, 3), rotations (N, 4) as unit quaternions w, x, y, z, opacities
            (N, 1) and colors (N, 3), float32.
        camera: (CAMERA,) float64.
        width: of the picture, pixels.
        height: likewise.
        first: Gaussian to begin with.
        last: one past the last Gaussian.
        records: (N, RECORD) float32, written.
        depths: (N,) float32, written; NOT_SEEN where no pixel is touched.
    """
    means, scales, rotations, opacities, colors = arrays
    for i in range(first, last):
        depths[i] = NOT_SEEN
        x, y, z = _in_camera(means[i], camera)
        opacity = float(opacities[i, 0])
        if not (z > NEAR and opacity >= LEAST):
            continue
        a = min(max(x / z, camera[16]), camera[17])
        b = min(max(y / z, camera[18]), camera[19])
        u, v, _, _ = _axes(_rotation(rotations[i]), camera, a, b, z)
        xx, xy, yy, determinant = _covariance(u, v, scales[i])
        cx, cy = camera[12] * x / z + camera[14], camera[13] * y / z + camera[15]
        if not (abs(cx) < _FARTHEST and abs(cy) < _FARTHEST and xx < _WIDEST and yy < _WIDEST):
            continue
        # d^T conic d <= 2 ln(255 opacity): half extents sqrt(that * variance).
        power = 2 * math.log(opacity / LEAST)
        dx, dy = math.sqrt(power * xx) + _SLACK, math.sqrt(power * yy) + _SLACK
        left, right = max(math.ceil(cx - dx - 0.5), 0), min(math.floor(cx + dx - 0.5), width - 1)
        top, bottom = max(math.ceil(cy - dy - 0.5), 0), min(math.floor(cy + dy - 0.5), height - 1)
        if left > right or top > bottom:
            continue
        depths[i] = z
        record = records[i]
        record[X], record[Y] = cx, cy
        record[XX] = -_HALF_LOG2_E * yy / determinant
        record[XY] = 2 * _HALF_LOG2_E * xy / determinant
        record[YY] = -_HALF_LOG2_E * xx / determinant
        record[OPACITY], record[DEPTH] = opacity, z
        record[RED], record[GREEN], record[BLUE] = colors[i, 0], colors[i, 1], colors[i, 2]
        record[LEFT], record[RIGHT], record[TOP], record[BOTTOM] = left, right, top, bottom


@compiled(**DIVIDES)
def project_gradient(arrays, camera, order, sums, first, last, gradients):
    """Gradients of Gaussians order[first..last] from their sums over pixels.

    Args:
        arrays: means, scales, rotations, opacities and colors, as in `project`.
        camera: (CAMERA,).
        order: (M,) int32, the Gaussians that the rows of sums belong to.
        sums: (M, SUMS) float64: with q = dL/dalpha alpha and d = pixel - centre the sums of q, q dx, q dy, q dx^2,
            q dx dy, q dy^2, then the gradients of the colour and of the depth.
        first: row to begin with.
        last: one past the last row.
        gradients: arrays of the shapes of `arrays`, written.
    """
    means, scales, rotations, opacities, _ = arrays
    dmeans, dscales, drotations, dopacities, dcolors = gradients
    du, dr = np.empty((2, 3)), np.empty((3, 3))
    for row in range(first, last):
        i, s = order[row], sums[row]
        x, y, z = _in_camera(means[i], camera)
        a = min(max(x / z, camera[16]), camera[17])
        b = min(max(y / z, camera[18]), camera[19])
        rotation = _rotation(rotations[i])
        u, v, t0, t1 = _axes(rotation, camera, a, b, z)
        xx, xy, yy, determinant = _covariance(u, v, scales[i])
        cxx, cxy, cyy = yy / determinant, -xy / determinant, xx / determinant
        dopacities[i, 0] = s[ALPHA] / opacities[i, 0]
        dcolors[i, 0], dcolors[i, 1], dcolors[i, 2] = s[DRED], s[DGREEN], s[DBLUE]
        # alpha = o exp(-d^T C d / 2): of the centre C d; of C -d d^T / 2, so of the covariance C d d^T C / 2.
        gx, gy = cxx * s[DX] + cxy * s[DY], cxy * s[DX] + cyy * s[DY]
        m00, m01 = cxx * s[DXX] + cxy * s[DXY], cxx * s[DXY] + cxy * s[DYY]
        m10, m11 = cxy * s[DXX] + cyy * s[DXY], cxy * s[DXY] + cyy * s[DYY]
        g00, g01 = (m00 * cxx + m01 * cxy) / 2, (m00 * cxy + m01 * cyy) / 2
        g11 = (m10 * cxy + m11 * cyy) / 2
        for j in range(3):
            scale = float(scales[i, j])
            du[0, j], du[1, j] = 2 * (g00 * u[j] + g01 * v[j]), 2 * (g01 * u[j] + g11 * v[j])
            dscales[i, j] = scale * (u[j] * du[0, j] + v[j] * du[1, j])
            du[0, j] *= scale * scale
            du[1, j] *= scale * scale
        for j in range(3):
            for k in range(3):
                dr[j, k] = t0[j] * du[0, k] + t1[j] * du[1, k]
        for j, part in enumerate(_rotation_gradient(rotations[i], dr)):
            drotations[i, j] = part
        # J's entries: fx / z and -fx a / z; a moves only within its limits.
        along0 = along1 = toward0 = toward1 = 0.0
        for j in range(3):
            r = rotation[j]
            w0 = du[0, 0] * r[0] + du[0, 1] * r[1] + du[0, 2] * r[2]
            w1 = du[1, 0] * r[0] + du[1, 1] * r[1] + du[1, 2] * r[2]
            along0, along1 = along0 + w0 * t0[j], along1 + w1 * t1[j]
            toward0, toward1 = toward0 + w0 * camera[8 + j], toward1 + w1 * camera[8 + j]
        fx, fy = camera[12] / z, camera[13] / z
        dx, dy = gx * fx, gy * fy
        dz = s[DDEPTH] - (gx * fx * x + gy * fy * y) / z - (along0 + along1) / z
        if camera[16] < x / z < camera[17]:
            da = -fx * toward0
            dx, dz = dx + da / z, dz - da * a / z
        if camera[18] < y / z < camera[19]:
            db = -fy * toward1
            dy, dz = dy + db / z, dz - db * b / z
        for j in range(3):
            dmeans[i, j] = camera[j] * dx + camera[4 + j] * dy + camera[8 + j] * dz
