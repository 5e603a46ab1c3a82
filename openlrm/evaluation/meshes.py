"""Reconstructed meshes against given ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openlrm.cameras import default_source_pose
from openlrm.errors import UserError
from openlrm.geometry.gltf_shape import read_gltf_shape
from openlrm.geometry.mesh_io import is_former_obj
from openlrm.metrics import compare_meshes, fit_to_cube
from openlrm.metrics.alignment import align_by_search
from openlrm.metrics.mesh import sample_surface
from openlrm.utils.logging import get_logger

if TYPE_CHECKING:
    from openlrm.geometry.mesh import Mesh

logger = get_logger(__name__)

_GLTF = (".glb", ".gltf")
SUFFIXES = (*_GLTF, ".ply", ".obj", ".stl")

# Columns: the source camera's right, up and backward axes.
_CANONICAL = default_source_pose()[:, :3].astype(np.float64)
# glTF and obj are Y-up with the front towards +Z, our worlds are Z-up with the front towards -Y.
_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)


def find_mesh(root: str, uid: str) -> Path | None:
    """Return root/uid with one of `SUFFIXES`, or None."""
    candidates = (Path(root) / f"{uid}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def find_meshes(root: str | None, uids: Sequence[str]) -> dict[str, Path]:
    """Files of the true meshes in a folder, of the objects that have one; the others are told.

    Raises:
        UserError: a folder without any.
    """
    if root is None:
        return {}
    paths = {uid: path for uid in uids if (path := find_mesh(root, uid)) is not None}
    if not paths:
        raise UserError("no mesh of any object", root, f"they are called <uid>{'|'.join(SUFFIXES)}")
    for uid in uids:
        if uid not in paths:
            logger.warning("%s: no mesh in %s", uid, root)
    return paths


def read_mesh(path: Path, up: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a mesh in Z-up axes.

    Args:
        path: a file of `SUFFIXES`; the parts of a scene become one mesh.
        up: axis that points up in the file: "y", "z", or "auto": y for glTF, as its specification says, and for obj,
            as `save_mesh` writes it and the factory reads it; z for ply, stl, and an obj of `is_former_obj`.

    Returns:
        Vertices (V, 3) float64 and faces (F, 3).

    Raises:
        UserError: unreadable, or no triangles in it.
    """
    suffix = path.suffix.lower()
    try:
        vertices, faces = read_gltf_shape(path) if suffix in _GLTF else _read_with_trimesh(path)
    except Exception as error:
        # Every format has its own ways to be damaged.
        raise UserError(f"cannot read the mesh ({error})", path) from error
    if not len(faces) or not np.isfinite(vertices[np.unique(faces)]).all():
        raise UserError("no triangles, or vertices that are not finite", path)
    turned = up == "y" or (up == "auto" and (suffix in _GLTF or (suffix == ".obj" and not is_former_obj(path))))
    return (vertices @ _Y_UP.T if turned else vertices), faces


def _read_with_trimesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    mesh = trimesh.load(path, force="mesh", process=False)
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)


def score_mesh(
    ours: Mesh,
    truth: tuple[np.ndarray, np.ndarray],
    turn: np.ndarray,
    thresholds: Sequence[float],
    points: int,
    alignment: str = "box",
) -> dict[str, Any]:
    """Chamfer distance and F-scores with both meshes brought together.

    Args:
        ours: the reconstruction.
        truth: vertices and faces in the data's axes.
        turn: (3, 3) from those to the model's.
        thresholds: of the F-score; 2 is the longest side of either mesh, with `search` 1 the larger of width and
            height.
        points: sampled on each.
        alignment: `box` fits both to [-1, 1]^3 in the model's axes; `search` tries rotations in the source camera's,
            see `openlrm.metrics.alignment`.

    Raises:
        UserError: the true mesh has no extent.
    """
    vertices, faces = truth
    prediction, turned = (ours.vertices, ours.faces), (vertices @ turn.T, faces)
    try:
        if alignment == "search":
            rng = np.random.default_rng(0)
            clouds = [sample_surface(*mesh, points, rng) @ _CANONICAL for mesh in (prediction, turned)]
            scores = align_by_search(*clouds, thresholds).scores
        else:
            prediction, turned = ((fit_to_cube(*mesh), mesh[1]) for mesh in (prediction, turned))
            scores = compare_meshes(prediction, turned, thresholds, points)
    except ValueError as error:
        raise UserError(f"cannot compare the meshes ({error})") from error
    figures = {"chamfer": scores.chamfer, "accuracy": scores.accuracy, "completeness": scores.completeness}
    return figures | {f"f_score_{threshold:g}": value for threshold, value in scores.f_scores.items()}
