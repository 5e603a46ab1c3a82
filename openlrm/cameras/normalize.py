"""Turn an object's cameras so that its source camera is the canonical one."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras.conventions import to_homogeneous
from openlrm.cameras.poses import default_source_pose
from openlrm.errors import UserError


def normalize_poses(poses: ArrayLike, distance: float | Literal["auto"] = "auto") -> np.ndarray:
    """Move the world so that the first pose becomes the default source camera.

    Convention: every pose is multiplied from the left by T = E_canonical @ inverse(E_source), with E_source
    the first pose and E_canonical the default source camera at `distance`. A source at (2, 0, 0) looking at
    the origin moves to (0, -2, 0), and a point of the object at (1, 0, 0) to (0, -1, 0). Distances between
    cameras do not change; a `distance` other than the true one moves the object away from the origin along
    the source camera's axis.

    Args:
        poses: (M, 3, 4) or (M, 4, 4) camera-to-world, the source camera first.
        distance: of the source camera from the origin after it, world units; `auto` keeps its own.

    Returns:
        (M, 3, 4) float32 camera-to-world.

    Raises:
        UserError: `auto` with a source camera at the origin, or a distance that is not a positive number.
    """
    poses = to_homogeneous(poses)
    source = poses[0]
    if isinstance(distance, str) and distance != "auto":
        raise UserError(f"camera distance must be 'auto' or a number, not {distance!r}")
    if distance == "auto":
        distance = float(np.linalg.norm(source[:3, 3]))
        if distance < 1e-6:
            raise UserError("the source camera stands at the origin", hint="give a distance instead of 'auto'")
    canonical = to_homogeneous(default_source_pose(distance))
    # default_source_pose rounds to float32; keep the distance as measured.
    canonical[1, 3] = -distance
    transform = canonical @ np.linalg.inv(source)
    return (transform @ poses)[:, :3].astype(np.float32)
