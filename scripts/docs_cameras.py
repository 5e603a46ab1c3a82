"""Draw docs/images/cameras.svg: world axes, the object's cube and cameras, by the project's own projection.

python scripts/docs_cameras.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlrm.cameras import default_source_pose, look_at, project
from openlrm.launch import exit_code

FILE = Path(__file__).resolve().parents[1] / "docs" / "images" / "cameras.svg"
_SIDE = 640
# From where the drawing looks: in front of view 0, to its right and above.
_EYE, _TARGET = (5.2, -6.2, 4.4), (0.1, -0.55, 0.05)
_LENS = (1.75, 1.75, 0.5, 0.5)
_AXES = {"X": ("#d00000", (1, 0, 0)), "Y": ("#007a00", (0, 1, 0)), "Z": ("#0040d0", (0, 0, 1))}
_AXIS_LENGTH, _CAMERA_AXIS, _DEPTH = 1.6, 0.5, 0.55
_ANOTHER = (-1.5, -0.3, 1.6)


def drawing() -> str:
    """Return the drawing as SVG."""
    parts = [_edge(a, b, "#999", 1) for a, b in _cube_edges()]
    for name, (colour, direction) in _AXES.items():
        end = _AXIS_LENGTH * np.array(direction)
        parts += [_edge((0, 0, 0), end, colour, 2.5), _label(1.08 * end, f"world {name}", colour)]
    parts += _camera(default_source_pose(2.0), "view 0 at (0, -2, 0)", "#333")
    parts += _camera(look_at(np.array(_ANOTHER)), "another view", "#888")
    parts.append(_label((1, -1, -1.14), "cube [-1, 1]^3", "#666"))
    legend = (
        "A camera's own axes: X right (red), Y up (green), Z backward (blue). It looks along -Z.",
        "A pose's columns are these three directions in the world, then the camera's centre.",
    )
    for line, text in enumerate(legend):
        parts.append(f'<text x="12" y="{_SIDE - 28 + 18 * line}" font-size="12.5">{text}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE} {_SIDE}" width="{_SIDE}" height="{_SIDE}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def main() -> None:
    """Write the drawing."""
    FILE.write_text(drawing(), encoding="utf-8")


def _camera(c2w: np.ndarray, name: str, colour: str) -> list[str]:
    """Draw a camera: its pyramid of view with the default lens, its axes, its name."""
    rotation, centre = np.asarray(c2w)[:3, :3], np.asarray(c2w)[:3, 3]
    half = 0.5 / 0.75 * _DEPTH
    corners = [rotation @ (x * half, y * half, -_DEPTH) + centre for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    parts = [_edge(centre, corner, colour, 1) for corner in corners]
    parts += [_edge(a, b, colour, 1) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    for column, (shade, _) in enumerate(_AXES.values()):
        parts.append(_edge(centre, centre + _CAMERA_AXIS * rotation[:, column], shade, 2))
    return [*parts, _label(centre - 0.32 * rotation[:, 1], name, colour)]


def _cube_edges() -> list[tuple]:
    corners = [np.array([x, y, z]) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    return [(a, b) for i, a in enumerate(corners) for b in corners[i + 1 :] if np.abs(a - b).sum() == 2]


def _pixel(point: Sequence[float]) -> np.ndarray:
    eye = look_at(np.array(_EYE), np.array(_TARGET))
    uv, _ = project(np.array([point], float), eye, _LENS)
    return uv[0] * _SIDE


def _edge(a: Sequence[float], b: Sequence[float], colour: str, width: float) -> str:
    (x, y), (u, v) = _pixel(a), _pixel(b)
    return f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _label(point: Sequence[float], text: str, colour: str) -> str:
    x, y = _pixel(point)
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="middle">{text}</text>'


if __name__ == "__main__":
    sys.exit(exit_code(main))
