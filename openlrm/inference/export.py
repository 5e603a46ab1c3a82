"""A scene into files: turntable videos and a mesh, with progress."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from openlrm.cameras import build_render_camera, turntable
from openlrm.errors import UserError
from openlrm.inference.density_grid import FieldQuery
from openlrm.inference.mesh_edit import decimate
from openlrm.inference.mesh_edit import smooth as smooth_mesh
from openlrm.inference.mesh_options import TEXTURE_FACES, check_mesh_request
from openlrm.inference.scene import Scene, normalise_depth
from openlrm.inference.surface_color import DEPTH, seen_color
from openlrm.inference.texture import bake
from openlrm.inference.tiles import POINTS
from openlrm.utils.images import to_uint8
from openlrm.utils.mesh_io import save_mesh, save_textured_mesh, vertex_normals
from openlrm.utils.video import VideoWriter

# Half the cube's diagonal: what is in the cube is at most this far before or behind its centre.
_HALF_DIAGONAL = 3**0.5


def export_videos(
    scene: Scene,
    paths: dict[str, Path],
    views: int,
    size: int,
    fps: int,
    distance: float = 2.0,
    batch: int = 1,
) -> list[Path]:
    """Render a turntable and write it as up to three videos, encoded while the next frames are rendered.

    Args:
        scene: what is shown.
        paths: "rgb", "depth" (near is white) and "mask" -> file; those asked for.
        views: frames of one turn; the first is not repeated at its end.
        size: side in pixels.
        fps: frames per second.
        distance: of the cameras from the centre.
        batch: frames rendered in one call.

    Returns:
        The files written (folders, for .png).

    Raises:
        UserError: a field that is not finite, or a place that cannot be written.
    """
    cameras = build_render_camera(turntable(views, radius=distance))
    near, far = max(distance - _HALF_DIAGONAL, 0.0), distance + _HALF_DIAGONAL
    with contextlib.ExitStack() as stack:
        writers = {kind: stack.enter_context(VideoWriter(path, fps)) for kind, path in paths.items()}
        frames = scene.views(cameras, size, batch=batch, skip_empty=True)
        for view in tqdm(frames, total=views, desc="video", unit="frame"):
            for kind, writer in writers.items():
                writer.write(_frame(view, kind, near, far))
    return [writer.path for writer in writers.values()]


def export_mesh(
    scene: Scene,
    path: str | os.PathLike,
    size: int = 384,
    threshold: float = 3.0,
    *,
    smooth: int = 0,
    faces: int | None = None,
    texture: str = "none",
    texture_size: int = 1024,
    metres: float | None = None,
    unlit: bool = True,
    color_depth: float = DEPTH,
) -> tuple[int, int]:
    """Extract the mesh, finish it and write it in the format of its suffix.

    Colours are asked of the field where smoothing and decimation have moved the surface.

    Args:
        scene: what is meshed.
        path: .ply, .obj, .glb or .stl; beside a textured x.obj are x.mtl and x_texture.png.
        size: grid points a side.
        threshold: density of the surface.
        smooth: rounds of smoothing, before decimation.
        faces: to reduce the mesh to; without it all of them, or `TEXTURE_FACES` with a texture.
        texture: "none" for a colour at each vertex, "atlas" for a texture (.glb and .obj).
        texture_size: side of the texture in pixels.
        metres: longest side of the written mesh, about the origin; as it is in the field without it.
        unlit: viewers show the colours as they are; otherwise they light them.
        color_depth: how deep under the surface colours are added up, see `openlrm.inference.surface_color`; 0 for
            those at the surface.

    Returns:
        Number of vertices and of faces.

    Raises:
        UserError: no surface at the threshold (names one that would do), an unknown format or texture, a package
            that is missing, or a place that cannot be written.
    """
    textured = texture != "none"
    check_mesh_request(path, faces, texture)
    with _points_bar("mesh") as progress:
        mesh = scene.mesh(size, threshold, progress)
    corners, triangles = smooth_mesh(mesh.vertices, mesh.faces, smooth), mesh.faces
    corners, triangles = decimate(corners, triangles, TEXTURE_FACES if textured and faces is None else faces)
    scale = 1.0 if metres is None else metres / np.ptp(corners, axis=0).max()
    color = seen_color(scene.field, color_depth)
    if textured:
        with _points_bar("texture") as progress:
            baked = bake(corners, triangles, color, texture_size, FieldQuery(POINTS, progress))
        save_textured_mesh(path, corners * scale, triangles, baked, unlit)
    else:
        normals = vertex_normals(corners, triangles)
        rays = np.concatenate([corners, normals], axis=1, dtype=np.float32)
        with _points_bar("colours") as progress:
            query = FieldQuery(POINTS, progress)
            query.total = len(rays)
            colors = np.clip(query.ask(color, rays, "colour"), 0, 1)
        save_mesh(path, corners * scale, triangles, colors, unlit, normals)
    return len(corners), len(triangles)


@contextlib.contextmanager
def _points_bar(name: str) -> Iterator:
    with tqdm(desc=name, unit="point", unit_scale=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _frame(view, kind: str, near: float, far: float) -> np.ndarray:
    """(H, W, 3) uint8 of one of a view's pictures."""
    if kind == "rgb":
        name, picture = "colour", view.rgb
    else:
        grey = view.mask if kind == "mask" else normalise_depth(view.depth, near, far) * (view.mask > 0.5)
        name, picture = kind, np.repeat(grey[..., None], 3, axis=2)
    if not np.isfinite(picture).all():
        raise UserError(f"the field's {name} is NaN or infinite", hint="are the weights damaged?")
    return to_uint8(picture)
