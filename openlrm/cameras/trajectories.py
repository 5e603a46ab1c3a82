"""Camera paths around the object."""

from __future__ import annotations

import numpy as np

from openlrm.cameras.conventions import DEFAULT_DISTANCE
from openlrm.errors import UserError

DEFAULT_HEIGHT = 0.8


def surrounding_views(n: int, radius: float = DEFAULT_DISTANCE, height: float = DEFAULT_HEIGHT) -> np.ndarray:
    """Poses on a horizontal circle, first and last the same, as the released models are shown.

    Convention: angles -pi/2 .. 3 pi/2 INCLUSIVE, counter-clockwise seen from above, all looking at the origin
    with up = +Z. The first stands at (0, -sqrt(radius^2 - height^2), height), on the source camera's side.

    Args:
        n: number of poses.
        radius: distance to the origin, world units.
        height: z of every camera, world units, at most `radius` in size.

    Returns:
        (n, 3, 4) float32 camera-to-world.

    Raises:
        UserError: n below 1, a radius that is not positive, or a height beyond the radius.
    """
    return _circle(n, radius, height, endpoint=True)


def turntable(n: int, radius: float = DEFAULT_DISTANCE, height: float = DEFAULT_HEIGHT) -> np.ndarray:
    """Poses on the same circle for a video that loops: evenly spaced, the first is not repeated at the end.

    Convention: as `surrounding_views`, angles -pi/2 + 2 pi k / n. With n = 4 the cameras stand at
    -Y, +X, +Y, -X. Arguments, result and errors as there.
    """
    return _circle(n, radius, height, endpoint=False)


def orbit(azimuth: float, elevation: float = 0.0, radius: float = DEFAULT_DISTANCE) -> np.ndarray:
    """Pose on a sphere around the object, looking at the origin with up = +Z.

    Convention: azimuth 0 and elevation 0 is the default source camera; azimuth 90 stands at +X, elevation 90 above.

    Args:
        azimuth: degrees, counter-clockwise seen from above.
        elevation: degrees above the horizon, -90 to 90.
        radius: distance to the origin, world units.

    Returns:
        (3, 4) float32 camera-to-world.

    Raises:
        UserError: a value that is not finite, an elevation out of range, or a radius that is not positive.
    """
    if not np.isfinite(azimuth):
        raise UserError(f"azimuth must be a number of degrees, not {azimuth}")
    if not -90 <= elevation <= 90:
        raise UserError(f"elevation {elevation} is not between -90 and 90 degrees")
    angle = np.array([np.deg2rad(azimuth) - 0.5 * np.pi])
    return _poses(angle, radius, radius * np.sin(np.deg2rad(elevation)))[0]


def _circle(n: int, radius: float, height: float, endpoint: bool) -> np.ndarray:
    if n < 1:
        raise UserError(f"a camera path needs at least 1 view, not {n}")
    return _poses(np.linspace(-0.5 * np.pi, 1.5 * np.pi, n, endpoint=endpoint), radius, height)


def _poses(angles: np.ndarray, radius: float, height: float) -> np.ndarray:
    """Poses (n, 3, 4) at these angles from +X on the circle of a sphere at this height."""
    if not (np.isfinite(radius) and radius > 0):
        raise UserError(f"radius of the camera path must be positive, not {radius}")
    if not abs(height) <= radius:
        hint = f"use a height between {-radius:g} and {radius:g}"
        raise UserError(f"camera height {height:g} lies beyond the radius {radius:g}", hint=hint)
    sine, cosine, zero = np.sin(angles), np.cos(angles), np.zeros(len(angles))
    across = np.sqrt(radius**2 - height**2)
    position = np.stack([across * cosine, across * sine, np.full(len(angles), float(height))], axis=-1)
    backward = position / radius
    # up x backward, normalised; written out it also holds straight above, where the cross product is zero.
    right = np.stack([-sine, cosine, zero], axis=-1)
    return np.stack([right, np.cross(backward, right), backward, position], axis=-1).astype(np.float32)
