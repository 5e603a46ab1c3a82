"""A representation into files: turntable videos and a mesh, with progress."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from openlrm.cameras import Camera, turntable
from openlrm.errors import UserError
from openlrm.geometry.mesh_io import save_mesh, save_textured_mesh
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.utils.images import to_uint8
from openlrm.utils.progress import point_bar
from openlrm.utils.video import VideoWriter

if TYPE_CHECKING:
    from openlrm.representations.base import Representation, View

_DEFAULT_MESH = MeshSettings()
# Half the cube's diagonal: what is in the cube is at most this far before or behind its centre.
_HALF_DIAGONAL = 3**0.5


def export_videos(
    scene: Representation,
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
    cameras = Camera(turntable(views, radius=distance))
    near, far = max(distance - _HALF_DIAGONAL, 0.0), distance + _HALF_DIAGONAL
    with contextlib.ExitStack() as stack:
        writers = {kind: stack.enter_context(VideoWriter(path, fps)) for kind, path in paths.items()}
        frames = scene.views(cameras, size, batch=batch, skip_empty=True)
        for view in tqdm(frames, total=views, desc="video", unit="frame"):
            for kind, writer in writers.items():
                writer.write(_frame(view, kind, near, far))
    return [writer.path for writer in writers.values()]


def export_mesh(
    scene: Representation, path: str | os.PathLike, settings: MeshSettings = _DEFAULT_MESH
) -> tuple[int, int]:
    """Write the mesh of `Representation.mesh` in the format of its suffix.

    Args:
        scene: what is meshed.
        path: .ply, .obj, .glb or .stl; beside a textured x.obj are x.mtl and x_texture.png.
        settings: what the mesh shall be like.

    Returns:
        Number of vertices and of faces.

    Raises:
        UserError: no surface at the threshold (names one that would do), an unknown format or texture, a package
            that is missing, or a place that cannot be written.
    """
    settings.check(path)
    mesh = scene.extract(settings, point_bar)
    if mesh.texture is not None:
        save_textured_mesh(path, mesh.vertices, mesh.faces, mesh.texture, settings.unlit)
    else:
        save_mesh(path, mesh.vertices, mesh.faces, mesh.colors, settings.unlit, mesh.normals)
    return len(mesh.vertices), len(mesh.faces)


def _frame(view: View, kind: str, near: float, far: float) -> np.ndarray:
    """(H, W, 3) uint8 of one of a view's pictures."""
    if kind == "rgb":
        name, picture = "colour", view.rgb
    else:
        grey = view.mask if kind == "mask" else normalise_depth(view.depth, near, far) * (view.mask > 0.5)
        name, picture = kind, np.repeat(grey[..., None], 3, axis=2)
    if not np.isfinite(picture).all():
        raise UserError(f"the field's {name} is NaN or infinite", hint="are the weights damaged?")
    return to_uint8(picture)


def normalise_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth as a grey picture: 1 at `near`, 0 at `far`, clipped; any shape."""
    return np.clip((far - depth) / (far - near), 0, 1)
