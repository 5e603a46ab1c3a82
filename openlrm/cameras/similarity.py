"""Bring cameras of any world to the cube [-1, 1]^3: a shift, one scale, a turn; nothing is bent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openlrm.cameras.camera import Camera
from openlrm.errors import UserError

HALF_SIDE = 0.9
"""Half side of the square, at the object's centre, that the object fills at the most after `fit_object`."""

# Mean square sine of the angles between axes and their mean direction below which no nearest point is told.
_PARALLEL = 1e-6


def nearest_to_axes(cameras: Camera) -> np.ndarray:
    """Point (3,) float64 with the least sum of squared distances from the optical axes of cameras (V,), V >= 2.

    Raises:
        UserError: axes that are all parallel.
    """
    axes = cameras.rotations[:, :, 2].astype(np.float64)
    centers = cameras.centers.astype(np.float64)
    # Each axis takes away what lies along it: sum (I - d d^T) x = sum (I - d d^T) o.
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    matrix = across.sum(axis=0)
    if np.linalg.eigvalsh(matrix)[0] < _PARALLEL * len(axes):
        raise UserError("the cameras look in parallel: nothing says where the object is", hint="normalize=none")
    return np.linalg.solve(matrix, (across @ centers[:, :, None]).sum(axis=0)[:, 0])


def reach(mask: np.ndarray, intrinsics: np.ndarray) -> float:
    """How far an object reaches from its camera's axis, as the greater of |x| and |y| over the depth.

    Args:
        mask: (H, W) bool, where the object is; it must be somewhere.
        intrinsics: (4,) normalised.
    """
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    u = np.array([columns[0], columns[-1] + 1]) / mask.shape[1]
    v = np.array([rows[0], rows[-1] + 1]) / mask.shape[0]
    return float(max(np.abs((u - cx) / fx).max(), np.abs((v - cy) / fy).max()))


def transformed(cameras: Camera, center: np.ndarray, scale: float) -> Camera:
    """Cameras of the world moved by -center, then scaled: poses keep their directions, lenses stay."""
    c2w = cameras.c2w.astype(np.float64)
    c2w[..., 3] = (c2w[..., 3] - center) * scale
    return Camera(c2w, cameras.intrinsics)


def fit_object(cameras: Camera, masks: Sequence[np.ndarray], half_side: float = HALF_SIDE) -> Camera:
    """Move and scale the world so that the object lies at the origin and inside the cube.

    The centre is the point nearest to all optical axes. The scale is the greatest at which the object, were it flat at
    the centre's depth, stays within `half_side` of the viewing axis in every view.

    Args:
        cameras: (V,), V >= 2.
        masks: V masks (H, W) bool of the object; empty ones do not count.
        half_side: world units.

    Returns:
        (V,) cameras in the new world.

    Raises:
        UserError: parallel axes, a camera that looks away from the centre, or masks that are all empty.
    """
    center = nearest_to_axes(cameras)
    depths = ((center - cameras.centers) * -cameras.rotations[..., 2]).sum(axis=-1)
    if (depths <= 0).any():
        index = int(np.argmin(depths))
        raise UserError(f"camera {index} looks away from where the others look", hint="are the poses camera-to-world?")
    sizes = [
        depth * reach(mask, lens)
        for depth, mask, lens in zip(depths, masks, cameras.intrinsics, strict=True)
        if mask.any()
    ]
    if not sizes:
        raise UserError("no view shows the object", hint="its background must be transparent or white")
    return transformed(cameras, center, half_side / max(sizes))


def upright(cameras: Camera) -> Camera:
    """Turn the world about the origin, by the least angle, so that the cameras' mean up direction is +Z.

    Raises:
        UserError: cameras of which as many are upside down as not.
    """
    up = cameras.rotations[..., 1].astype(np.float64).mean(axis=0)
    length = np.linalg.norm(up)
    if length < 0.1:
        raise UserError("the cameras have no common up direction", hint="upright=false")
    up = up / length
    axis, cosine = np.cross(up, [0.0, 0.0, 1.0]), up[2]
    if cosine < -1 + 1e-9:
        turn = np.diag([1.0, -1.0, -1.0])
    else:
        # Rodrigues' formula for the rotation that brings `up` to +Z.
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turn = np.eye(3) + cross + cross @ cross / (1 + cosine)
    return Camera(turn @ cameras.c2w, cameras.intrinsics)
