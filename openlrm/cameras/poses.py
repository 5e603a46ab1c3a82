"""Single poses: made from a position and a target, or checked as they come from outside."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras.conventions import DEFAULT_DISTANCE, real_array
from openlrm.errors import UserError

WORLD_UP = (0.0, 0.0, 1.0)
# Poses are often stored in float32 or printed with a few digits; a wrong convention is off by far more.
ROTATION_TOLERANCE = 1e-3


def look_at(position: ArrayLike, target: ArrayLike = (0.0, 0.0, 0.0), up: ArrayLike = WORLD_UP) -> np.ndarray:
    """Pose of a camera at `position` that looks at `target`.

    Convention: the columns are x = up x z, y = z x x, z = position - target, all normalised, then the
    position. From (0, -2, 0) this is the default source camera. A camera that looks along `up` has no
    horizon; the image's up is then world +Y (+Z when `up` itself is along Y).

    Args:
        position: (..., 3) world units.
        target: (..., 3) world units.
        up: (..., 3) direction that points up in the image.

    Returns:
        (..., 3, 4) float32 camera-to-world.

    Raises:
        UserError: position and target coincide, or a value is not finite.
    """
    position, target, up = np.broadcast_arrays(
        real_array(position, "camera position"),
        real_array(target, "camera target"),
        real_array(up, "camera up direction"),
    )
    backward = position - target
    distance = np.linalg.norm(backward, axis=-1, keepdims=True)
    if (distance < 1e-8).any():
        raise UserError("camera position and target coincide", hint="move the camera away from what it looks at")
    backward = backward / distance
    right = np.cross(_unit(up), backward)
    # The sine of the angle between up and the viewing axis; below 1e-6 rounding would choose the horizon.
    level = np.linalg.norm(right, axis=-1, keepdims=True) > 1e-6
    instead = np.where(np.abs(backward[..., 1:2]) < 0.9, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    right = _unit(np.where(level, right, np.cross(instead, backward)))
    columns = [right, np.cross(backward, right), backward, position]
    return np.stack(columns, axis=-1).astype(np.float32)


def default_source_pose(distance: float = DEFAULT_DISTANCE) -> np.ndarray:
    """Pose of the canonical source camera: at (0, -distance, 0), looking along +Y, up +Z.

    Args:
        distance: world units, positive.

    Returns:
        (3, 4) float32 camera-to-world: [[1, 0, 0, 0], [0, 0, -1, -distance], [0, 1, 0, 0]].

    Raises:
        UserError: the distance is not a positive finite number.
    """
    if not (np.isfinite(distance) and distance > 0):
        raise UserError(f"camera distance must be positive, not {distance}", hint="the released models expect 2.0")
    return np.array([[1, 0, 0, 0], [0, 0, -1, -distance], [0, 1, 0, 0]], np.float32)


def validate_pose(pose: ArrayLike, where: object = None) -> np.ndarray:
    """Check one pose and return it as (3, 4).

    Args:
        pose: (3, 4) or (4, 4) camera-to-world.
        where: what to name in an error, usually the file.

    Returns:
        (3, 4) float32.

    Raises:
        UserError: wrong shape, not finite, a rotation that is not orthonormal within 1e-3 (the pose is scaled
            or is not a pose), that mirrors (axes swapped), or a last row other than 0 0 0 1.
    """
    pose = real_array(pose, "pose", where)
    if pose.shape not in ((3, 4), (4, 4)):
        raise UserError(f"pose has shape {pose.shape}", where, "expected a (3, 4) or (4, 4) camera-to-world matrix")
    if pose.shape == (4, 4) and np.abs(pose[3] - [0, 0, 0, 1]).max() > ROTATION_TOLERANCE:
        raise UserError(f"last row of the pose is {pose[3].tolist()}, not 0 0 0 1", where, "is it transposed?")
    rotation = pose[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if not error <= ROTATION_TOLERANCE:  # endless numbers make it NaN
        hint = "expected unscaled camera-to-world"
        raise UserError(f"rotation of the pose is not orthonormal (off by {error:.3g})", where, hint)
    if np.linalg.det(rotation) < 0:
        raise UserError("rotation of the pose mirrors (determinant -1)", where, "axes are swapped or one is negated")
    return pose[:3].astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
