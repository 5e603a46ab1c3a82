"""Where the cameras stand: poses of the views of one object, in numpy alone.

World: Z up, the object centred in the cube [-1, 1]^3. Poses are camera-to-world, (3, 4): the columns are the camera's
right, up and backward directions and its centre (Blender's and OpenGL's axes, it looks along -Z). The frontal camera
at distance d is [[1, 0, 0, 0], [0, 0, -1, -d], [0, 1, 0, 0]].
"""

import hashlib
import json
import math

import numpy as np
from blender_errors import InputError

STRATEGIES = ("random", "orbit", "sphere", "file")

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def generator(seed, uid):
    """Return the random generator of an object: the same for the same seed and name, whatever else is rendered."""
    digest = hashlib.sha256(uid.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def make_poses(strategy, count, rng, distance, height, level=1):
    """Place the cameras of an object; all look at the origin with world +Z up.

    Args:
        strategy: `random`: the first one frontal, the others with distance, height and direction uniform in their
            ranges (uniform height is uniform on the sphere); `orbit`: a circle, from the front on, at the middle
            of both ranges; `sphere`: the first one frontal, the others evenly over the heights, at the middle distance.
        count: number of views, 1 or more.
        rng: numpy generator.
        distance: (least, greatest) distance from the origin, world units.
        height: (least, greatest) z, world units.
        level: of `random`: how many cameras, the first ones, are at height 0; their directions are drawn as ever.

    Returns:
        (count, 3, 4) float64.

    Raises:
        InputError: a range that is none, or a height that no camera at that distance has.
    """
    for name, (least, greatest) in (("distance", distance), ("height", height)):
        if not -math.inf < least <= greatest < math.inf:
            raise InputError(f"no {name} between {least} and {greatest}: give the lesser first")
    if distance[0] <= 0 or max(map(abs, height)) > distance[0]:
        raise InputError(
            f"no camera at a distance of {distance[0]} has a height of {height[0]} to {height[1]}: move it away"
        )
    middle = sum(distance) / 2
    if strategy == "random":
        radii = rng.uniform(*distance, count)
        heights = rng.uniform(*height, count)
        heights[:level] = 0.0
        angles = rng.uniform(0, 2 * math.pi, count)
    elif strategy == "orbit":
        radii, heights = np.full(count, middle), np.full(count, sum(height) / 2)
        angles = -math.pi / 2 + np.arange(count) * 2 * math.pi / count
    else:
        # Slices of equal height hold equal parts of a sphere; the first is given to the frontal view.
        slices = (np.arange(count) - 0.5) / max(count - 1, 1)
        radii, heights = np.full(count, middle), height[0] + slices * (height[1] - height[0])
        angles = -math.pi / 2 + np.arange(count) * _GOLDEN_ANGLE
    if strategy != "orbit":
        heights[0], angles[0] = 0.0, -math.pi / 2
    return look_at_origin(on_sphere(radii, heights, angles))


def on_sphere(radii, heights, angles):
    """Return (V, 3) positions from distance to the origin, z and the angle around the Z axis from +X."""
    across = np.sqrt(np.maximum(radii**2 - heights**2, 0))
    return np.stack([across * np.cos(angles), across * np.sin(angles), heights], axis=-1)


def look_at_origin(positions):
    """Return (V, 3, 4) poses of cameras at (V, 3) positions; straight above or below, the image's up is +Y."""
    backward = positions / np.linalg.norm(positions, axis=-1, keepdims=True)
    level = np.hypot(backward[:, :1], backward[:, 1:2]) > 1e-6
    right = np.cross(np.where(level, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]), backward)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    # Adding 0.0 turns -0.0 into 0.0, for files that compare and print well.
    return np.stack([right, np.cross(backward, right), backward, positions], axis=-1) + 0.0


def read_poses(path):
    """Read poses from a file.

    Args:
        path: .npy or .json with an array (V, 3, 4) or (V, 4, 4), camera-to-world in the axes above.

    Returns:
        (V, 3, 4) float64.

    Raises:
        InputError: no such file, not an array of poses, or matrices that are not rigid motions.
    """
    try:
        if path.suffix.lower() == ".json":
            poses = np.array(json.loads(path.read_text(encoding="utf-8-sig")), np.float64)
        else:
            poses = np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot read the camera file: {path} ({error})") from error
    if poses.ndim != 3 or not len(poses) or poses.shape[1:] not in ((3, 4), (4, 4)):
        raise InputError(f"the camera file holds {poses.shape}, not (views, 3, 4): {path}")
    poses = poses[:, :3]
    rotations = poses[:, :, :3]
    with np.errstate(invalid="ignore"):
        rigid = np.abs(rotations.swapaxes(1, 2) @ rotations - np.eye(3)).max() < 1e-3
    if not (np.isfinite(poses).all() and rigid and (np.linalg.det(rotations) > 0).all()):
        raise InputError(f"the camera file holds matrices that are not unscaled camera-to-world: {path}")
    return poses


def pixel_intrinsics(focal, resolution):
    """Return [[fx, fy], [cx, cy], [width, height]] in pixels, (3, 2) float64.

    Args:
        focal: focal length over image width; 0.75 is a 24 mm lens on a 32 mm sensor.
        resolution: side of the square image in pixels.
    """
    return np.array([[focal, focal], [0.5, 0.5], [1.0, 1.0]]) * resolution
