"""The colour a surface shows from outside.

A surface of constant density lies where an object begins, mostly in a faint layer whose colour is not what views show:
they add up colours until no light passes. So does this, along the inward normal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openlrm.geometry.density_grid import Field

DEPTH = 0.08
"""Default depth; fitted objects let 8 % of the light pass it."""
_SAMPLES = 8
# Weight of the first sample beyond its own: it decides where nothing stops the light.
_FLOOR = np.float32(1e-3)


def seen_color(field: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], depth: float = DEPTH) -> Field:
    """Make a function that adds up colours behind points of a surface.

    Args:
        field: points (P, 3) -> density (P,) and colour (P, 3).
        depth: how far inwards, in units of the field; 0 for the colour at the point itself.

    Returns:
        Function of (P, 6) float32, points and outward normals of any length but 0, to colours (P, 3).
    """
    step = np.float32(depth / _SAMPLES)

    def color(rays: np.ndarray) -> np.ndarray:
        points, normals = rays[:, :3], rays[:, 3:]
        if not step:
            return field(points)[1]
        inwards = -normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        passed, weight, total = np.ones(len(points), np.float32), np.float32(0), np.float32(0)
        for number in range(_SAMPLES):
            density, rgb = field(points + inwards * (step * np.float32(number + 0.5)))
            after = passed * np.exp(-density * step)
            share = passed - after + (_FLOOR if number == 0 else 0)
            total = total + share[:, None] * rgb
            weight, passed = weight + share, after
        return total / weight[:, None]

    return color
