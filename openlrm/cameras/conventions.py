"""Axes, poses, units and intrinsics: the conventions every camera of this project keeps.

World: right-handed, Z up, the object centred in the cube [-1, 1]^3. A default camera stands 2.0 units away.

Camera axes are Blender's and OpenGL's: +X right, +Y up, the camera looks along -Z. (OpenCV's and COLMAP's are
+Y down, +Z forward: negate the second and third columns of their rotation to come here.)

Pose: camera-to-world, `c2w`, (3, 4) or (4, 4): p_world = c2w[:, :3] @ p_camera + c2w[:, 3]. Its columns are
the camera's right, up and backward directions in the world, then its centre. The default source camera,

    [[1, 0,  0,  0],
     [0, 0, -1, -2],
     [0, 1,  0,  0]],

stands at (0, -2, 0), has world +X on its right and world +Z above it, and looks along +Y (minus its
third column).

Intrinsics record: (fx, fy, cx, cy), focal lengths and principal point divided by image width (x) and height
(y), zero skew. Image coordinates are (u, v) in [0, 1], u to the right and v DOWN from the upper left corner:

    u = cx + fx * x / -z,   v = cy - fy * y / -z      for a point (x, y, z) in camera axes, z < 0 in front.

The default 0.75, 0.75, 0.5, 0.5 is a 24 mm lens on a 32 mm sensor: field of view 2 atan(0.5 / 0.75) = 67.38
degrees. Seen from the default source camera the world point (0.5, 0, 0.25) is (0.5, 0.25, -2) in camera axes
and appears at u = 0.5 + 0.75 * 0.25 = 0.6875, v = 0.5 - 0.75 * 0.125 = 0.40625.

Pixel (row i, column j) of an image of W x H pixels is centred at u = (j + 0.5) / W, v = (i + 0.5) / H.

Everything here is numpy, computed in float64 and returned in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openlrm.errors import UserError

DEFAULT_DISTANCE = 2.0
DEFAULT_FOCAL = 0.75
DEFAULT_CENTER = 0.5
DEFAULT_INTRINSICS = (DEFAULT_FOCAL, DEFAULT_FOCAL, DEFAULT_CENTER, DEFAULT_CENTER)


def to_homogeneous(c2w: ArrayLike) -> np.ndarray:
    """Return (..., 4, 4) float64 poses from (..., 3, 4) or (..., 4, 4)."""
    c2w = np.asarray(c2w, np.float64)
    last = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (*c2w.shape[:-2], 1, 4))
    return np.concatenate([c2w[..., :3, :], last], axis=-2)


def intrinsics_from_pixels(record: ArrayLike, where: object = None) -> np.ndarray:
    """Normalise an intrinsics record in pixels.

    Convention: [[fx, fy], [cx, cy], [width, height]] in pixels becomes
    (fx / width, fy / height, cx / width, cy / height);
    [[192, 192], [128, 128], [256, 256]] gives (0.75, 0.75, 0.5, 0.5).

    Args:
        record: (3, 2).
        where: what to name in an error, usually the file.

    Returns:
        (4,) float32.

    Raises:
        UserError: not (3, 2), not finite, or a focal length or a size that is not positive.
    """
    record = real_array(record, "intrinsics", where)
    if record.shape != (3, 2):
        hint = "expected (3, 2): [[fx, fy], [cx, cy], [width, height]] in pixels"
        raise UserError(f"intrinsics have shape {record.shape}", where, hint)
    if (record[[0, 2]] <= 0).any():
        raise UserError(
            f"intrinsics must have positive focal lengths and sizes, not {record.tolist()}",
            where,
            "the rows are [fx, fy], [cx, cy], [width, height] in pixels",
        )
    with np.errstate(over="ignore"):
        normalised = (record[:2] / record[2]).reshape(4)
    return real_array(normalised, "normalised intrinsics", where).astype(np.float32)


def real_array(values: ArrayLike, name: str, where: object = None) -> np.ndarray:
    """Return real numbers in float64 that are finite in float32.

    Raises:
        UserError: values of another kind, or a NaN or an infinity among them.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} must be real numbers, not {array.dtype}", where)
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise UserError(f"{name} holds NaN or infinity", where)
    return array.astype(np.float64)
