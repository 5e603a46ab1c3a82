"""Objects drawn without Blender: coloured spheres, boxes and tori, some smooth and some checkered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera, orbit
from openlrm.utils.images import save_image
from openlrm.utils.paths import atomic_dir

KINDS = ("sphere", "box", "torus")
DISTANCES = (1.9, 2.6)
"""Of the cameras, drawn once for an object."""
_STEPS, _HIT, _FAR = 60, 1e-3, 1.3
_LIGHT = np.array([0.4, -0.6, 0.7]) / np.linalg.norm([0.4, -0.6, 0.7])
_AMBIENT = 0.45


@dataclass(frozen=True)
class Shape:
    """One body.

    Attributes:
        kind: of `KINDS`.
        centre: (3,).
        size: radius, half side, or the torus' large radius.
        colours: (2, 3) in [0, 1], of the checks; equal for a smooth one.
        checks: per unit of length.
    """

    kind: str
    centre: np.ndarray
    size: float
    colours: np.ndarray
    checks: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance (P,) of points (P, 3), negative inside."""
        p = points - self.centre
        if self.kind == "sphere":
            return np.linalg.norm(p, axis=-1) - self.size
        if self.kind == "box":
            q = np.abs(p) - self.size
            return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)
        return np.hypot(np.hypot(p[:, 0], p[:, 1]) - self.size, p[:, 2]) - 0.4 * self.size

    def colour(self, points: np.ndarray) -> np.ndarray:
        """Colour (P, 3) at points of the surface."""
        cells = np.floor((points - self.centre) * self.checks + 1e-6).astype(int).sum(-1) % 2
        return self.colours[cells]


def draw_shapes(random: np.random.Generator) -> list[Shape]:
    """One to three bodies inside a ball of radius 0.9; every second object is checkered."""
    shapes, checkered = [], random.random() < 0.5
    for _ in range(random.integers(1, 4)):
        size = random.uniform(0.2, 0.4)
        colours = random.uniform(0.1, 1.0, (2, 3))
        if not checkered:
            colours[1] = colours[0]
        centre = random.uniform(-0.3, 0.3, 3)
        shapes.append(Shape(str(random.choice(KINDS)), centre, size, colours, random.uniform(6, 12)))
    return shapes


def trace(shapes: Sequence[Shape], camera: Camera, side: int) -> np.ndarray:
    """Picture (side, side, 4) float32 in [0, 1], straight alpha, by sphere tracing; four rays a pixel.

    Args:
        shapes: the object.
        camera: ().
        side: in pixels.
    """
    fine = 2 * side
    centres = (np.arange(fine) + 0.5) / fine
    fx, fy, cx, cy = camera.intrinsics
    u, v = np.meshgrid((centres - cx) / fx, -(centres - cy) / fy)
    rays = np.stack([u, v, -np.ones_like(u)], -1).reshape(-1, 3) @ camera.rotations.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    near = np.linalg.norm(camera.centers) - _FAR
    depth, hit = np.full(len(rays), near), np.zeros(len(rays), bool)
    active = np.arange(len(rays))
    for _ in range(_STEPS):
        gap = _distance(shapes, camera.centers + depth[active, None] * rays[active])
        hit[active[gap < _HIT]] = True
        depth[active] += gap
        active = active[(gap >= _HIT) & (depth[active] < near + 2 * _FAR)]
        if not len(active):
            break
    rgba = np.zeros((len(rays), 4))
    points = camera.centers + depth[hit, None] * rays[hit]
    rgba[hit, :3] = _shade(shapes, points)
    rgba[hit, 3] = 1
    summed = rgba.reshape(side, 2, side, 2, 4).sum((1, 3))
    summed[..., :3] /= np.maximum(summed[..., 3:], 1)
    summed[..., 3] /= 4
    return summed.astype(np.float32)


def render_shapes(folder: Path, uid: str, views: int, side: int, seed: Sequence[int]) -> None:
    """Draw an object and write it in the layout of training data, whole or not at all.

    Args:
        folder: of the objects.
        uid: name of the object.
        views: the first at eye level, the others all around.
        side: in pixels.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    shapes, distance = draw_shapes(random), random.uniform(*DISTANCES)
    angles = [(0.0, 5.0), *((random.uniform(0, 360), random.uniform(-15, 45)) for _ in range(views - 1))]
    cameras = Camera(np.stack([orbit(azimuth, elevation, distance) for azimuth, elevation in angles]))
    with atomic_dir(folder / uid) as temporary:
        for kind in ("rgba", "pose"):
            (temporary / kind).mkdir()
        for number in range(views):
            save_image(temporary / "rgba" / f"{number:03d}.png", trace(shapes, cameras[number], side))
            np.save(temporary / "pose" / f"{number:03d}.npy", cameras[number].c2w)
        fx, fy, cx, cy = (float(value) * side for value in cameras[0].intrinsics)
        np.save(temporary / "intrinsics.npy", np.array([[fx, fy], [cx, cy], [side, side]]))


def _distance(shapes: Sequence[Shape], points: np.ndarray) -> np.ndarray:
    return np.min([shape.distance(points) for shape in shapes], axis=0)


def _shade(shapes: Sequence[Shape], points: np.ndarray) -> np.ndarray:
    """Colour (P, 3) of surface points, lit from one side."""
    step = 1e-3 * np.eye(3)
    normals = np.stack([_distance(shapes, points + e) - _distance(shapes, points - e) for e in step], -1)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    which = np.argmin([shape.distance(points) for shape in shapes], axis=0)
    colours = np.zeros((len(points), 3))
    for number, shape in enumerate(shapes):
        colours[which == number] = shape.colour(points[which == number])
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals @ _LIGHT, 0, 1)
    return colours * light[:, None]
