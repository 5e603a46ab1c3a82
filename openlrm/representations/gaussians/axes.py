"""Axes of files of Gaussians; positions and rotations are turned together."""

import numpy as np

from openlrm.errors import UserError
from openlrm.representations.gaussians.record import Gaussians

TURNS = {
    "world": np.eye(3),
    "y_down": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "y_up": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
"""From the world (z up, front towards -Y) to (x, y, z); (x, -z, y), as scenes trained on COLMAP's cameras; (x, z, -y),
glTF's."""


def turn_to(gaussians: Gaussians, axes: str) -> Gaussians:
    """From the world's axes.

    Raises:
        UserError: axes of another name.
    """
    return gaussians if axes == "world" else gaussians.turned(_turn(axes))


def turn_from(gaussians: Gaussians, axes: str) -> Gaussians:
    """To the world's axes.

    Raises:
        UserError: axes of another name.
    """
    return gaussians if axes == "world" else gaussians.turned(_turn(axes).T)


def _turn(axes: str) -> np.ndarray:
    if axes not in TURNS:
        raise UserError(f"ply_axes={axes} is not known", hint=f"use one of {', '.join(TURNS)}")
    return TURNS[axes]
