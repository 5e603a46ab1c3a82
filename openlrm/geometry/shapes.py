"""Solids by their signed distance, negative inside: what surfaces are tried on, and where a fit begins.

Points are (..., 3), distances (...). Unions, intersections and the gyroid are bounds of the distance, with the right
zero surface.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Distance = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Solid:
    """A solid inside [-1, 1]^3.

    Attributes:
        distance: signed.
        volume: None where there is no formula for it.
        euler: vertices - edges + faces of its surface; None where nobody knows.
    """

    distance: Distance
    volume: float | None
    euler: int | None


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Distance:
    """Distance from a ball."""
    return lambda points: np.linalg.norm(points - np.array(centre), axis=-1) - radius


def box(half: tuple[float, float, float], rotation: np.ndarray | None = None) -> Distance:
    """Distance from a box of half sides, turned by a (3, 3) rotation."""
    turn = np.eye(3) if rotation is None else rotation

    def distance(points: np.ndarray) -> np.ndarray:
        beyond = np.abs(points @ turn) - np.array(half)
        return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(-1), 0)

    return distance


def torus(ring: float, tube: float) -> Distance:
    """Distance from a torus around z."""

    def distance(points: np.ndarray) -> np.ndarray:
        from_ring = np.linalg.norm(points[..., :2], axis=-1) - ring
        return np.hypot(from_ring, points[..., 2]) - tube

    return distance


def cylinder(radius: float, half: float) -> Distance:
    """Distance from a cylinder along z."""

    def distance(points: np.ndarray) -> np.ndarray:
        beyond = np.stack([np.linalg.norm(points[..., :2], axis=-1) - radius, np.abs(points[..., 2]) - half], -1)
        return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(-1), 0)

    return distance


def gyroid(period: float, thickness: float) -> Distance:
    """About the distance from a wall along Schoen's gyroid."""

    def distance(points: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(points * (2 * np.pi / period), -1, 0)
        level = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
        return np.abs(level) * period / (2 * np.pi) / 1.5 - thickness / 2

    return distance


def union(*parts: Distance) -> Distance:
    """What is in any part."""
    return lambda points: np.min([part(points) for part in parts], axis=0)


def intersection(*parts: Distance) -> Distance:
    """What is in every part."""
    return lambda points: np.max([part(points) for part in parts], axis=0)


def tilted() -> np.ndarray:
    """A rotation along which no side of a solid is parallel to the grid."""
    x, y, z = 0.4, 0.3, 0.5
    turns = []
    for axis, angle in enumerate((x, y, z)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        turns.append(turn)
    return turns[2] @ turns[1] @ turns[0]


def _two_balls(radius: float, overlap: float) -> float:
    """Volume of two balls that overlap by a length."""
    cap = np.pi * (overlap / 2) ** 2 * (3 * radius - overlap / 2) / 3
    return 2 * (4 / 3 * np.pi * radius**3 - cap)


SOLIDS = {
    "ball": Solid(ball(0.7), 4 / 3 * np.pi * 0.7**3, 2),
    "torus": Solid(torus(0.6, 0.25), 2 * np.pi**2 * 0.6 * 0.25**2, 0),
    "tilted cube": Solid(box((0.5, 0.5, 0.5), tilted()), 1.0, 2),
    "thin plate": Solid(box((0.8, 0.6, 0.05)), 8 * 0.8 * 0.6 * 0.05, 2),
    "cylinder": Solid(cylinder(0.5, 0.7), np.pi * 0.5**2 * 1.4, 2),
    "two touching balls": Solid(union(ball(0.45, (0.43, 0, 0)), ball(0.45, (-0.43, 0, 0))), _two_balls(0.45, 0.04), 2),
    "ball with a hole": Solid(
        intersection(ball(0.8), lambda points: -cylinder(0.4, 2.0)(points)),
        4 / 3 * np.pi * (0.8**2 - 0.4**2) ** 1.5,
        0,
    ),
    "gyroid cut by a cube": Solid(intersection(gyroid(1.0, 0.2), box((0.8, 0.8, 0.8))), None, None),
}
"""Smooth, sharp, thin, touching and many-holed ones."""
