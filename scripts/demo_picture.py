"""Draw what a model makes of a picture: the input, four views of the field, the mesh in its colours and in grey.

python scripts/demo_picture.py assets/sample_input/building_g.png result.png --distance 1.95
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import openlrm
from openlrm.cameras import DEFAULT_INTRINSICS, orbit, project
from openlrm.launch import exit_code
from openlrm.utils.images import save_image

_AZIMUTHS = (0, 50, 140, 250)
_ELEVATION = 20
_LIGHT = np.array([-0.4, -0.7, 0.6])
_GAP = 6


def draw_points(points: np.ndarray, colors: np.ndarray, pose: np.ndarray, size: int) -> np.ndarray:
    """Picture (size, size, 3) of coloured points on white; each covers 2 x 2 pixels, the nearest wins."""
    uv, depth = project(points, pose, DEFAULT_INTRINSICS)
    picture = np.ones((size, size, 3), np.float32)
    far_to_near = np.argsort(-depth)
    columns, rows = np.clip((uv[far_to_near] * size).astype(int).T, 0, size - 2)
    for down in (0, 1):
        for right in (0, 1):
            picture[rows + down, columns + right] = colors[far_to_near]
    return picture


def draw(image: str, model: str | None, distance: float, size: int) -> np.ndarray:
    """The whole sheet, (size, 7 size and gaps, 3) float32 in [0, 1]."""
    import trimesh

    from openlrm.preprocess.model_input import prepare_image

    given = prepare_image(image, size)[0].transpose(1, 2, 0)
    scene = openlrm.reconstruct(image, model, background="keep", recentre=False, source_cam_dist=distance)
    pose = orbit(_AZIMUTHS[1], _ELEVATION, 2.2)
    views = [
        np.asarray(scene.render(azimuth, _ELEVATION if azimuth else 0, 2.2, size)) / np.float32(255)
        for azimuth in _AZIMUTHS
    ]
    mesh = scene.mesh(256)
    # Enough points that no pixel of the surface stays white.
    points, faces = trimesh.sample.sample_surface(trimesh.Trimesh(mesh.vertices, mesh.faces), 600_000, seed=0)
    normals = np.cross(
        *(mesh.vertices[mesh.faces[faces][:, k]] - mesh.vertices[mesh.faces[faces][:, 0]] for k in (1, 2))
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shade = 0.35 + 0.55 * np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    colors = mesh.colors[mesh.faces[faces][:, 0]]
    surfaces = [
        draw_points(points, colors, pose, size),
        draw_points(points, shade[:, None].repeat(3, 1), pose, size),
    ]
    gap = np.ones((size, _GAP, 3), np.float32)
    panels = [panel for picture in (given, *views, *surfaces) for panel in (picture, gap)]
    return np.clip(np.concatenate(panels[:-1], axis=1), 0, 1)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("output")
    parser.add_argument("--model", help="the demonstration model without it")
    parser.add_argument("--distance", type=float, default=2.0, help="of the camera that took the picture")
    parser.add_argument("--size", type=int, default=192, help="side in pixels of a picture")
    arguments = parser.parse_args(argv)
    save_image(arguments.output, draw(arguments.image, arguments.model, arguments.distance, arguments.size))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
