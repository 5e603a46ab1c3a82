"""Triangle meshes, with vertex colours or a texture, into files."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openlrm.errors import UserError
from openlrm.geometry.glb import encode_glb, z_up_to_y_up
from openlrm.utils.images import to_uint8
from openlrm.utils.paths import atomic_path

MESH_FORMATS = (".ply", ".obj", ".glb", ".stl")
"""Suffixes `save_mesh` knows; .stl holds no colours."""
TEXTURED_FORMATS = (".glb", ".obj")
"""Suffixes `save_textured_mesh` knows."""

_OBJ_HEADER = "# OpenLRM for MindSpore: Y up, front towards +Z\n"
# How this project's obj files began when they were Z up: six decimals and colours, or the material called `material`.
_FORMER_COLOURED = re.compile(rb"v(?: -?\d+\.\d{6}){3}(?: [01]\.\d{6}){3}\n")
_FORMER_TEXTURED = re.compile(rb"mtllib [^\n]+\nusemtl material\nv ")


class Texture(NamedTuple):
    """A picture and where it lies on a mesh.

    Attributes:
        uv: (T, 2) float32 in [0, 1], from the picture's upper left corner to the right and down, as in glTF.
        vertex: (T,) int32, the mesh's vertex that each uv belongs to; one on a seam has several.
        faces: (F, 3) int32, the mesh's faces as indices of uv.
        picture: (S, S, 3) uint8, sRGB.
    """

    uv: np.ndarray
    vertex: np.ndarray
    faces: np.ndarray
    picture: np.ndarray


def save_mesh(
    path: str | os.PathLike,
    vertices: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray,
    unlit: bool = True,
    normals: np.ndarray | None = None,
) -> None:
    """Write a mesh with vertex colours whole or not at all, in the format of its suffix.

    Convention: the mesh is Z-up with its front towards -Y. .ply and .stl keep these axes; .glb and .obj are turned
    to those of glTF, Y-up with the front towards +Z, which readers of both take for granted. The first line of an
    .obj says so.

    Args:
        path: ends in .ply (binary), .obj, .glb or .stl (binary, without colours).
        vertices: (V, 3) positions.
        faces: (F, 3) integer indices of vertices, counter-clockwise seen from outside.
        colors: (V, 3) sRGB in [0, 1].
        unlit: .glb: viewers show the colours as they are; otherwise they light them.
        normals: .glb: (V, 3), of length 1; those of `vertex_normals` without them.

    Raises:
        UserError: another suffix, or a place that cannot be written.
        ValueError: arrays of another shape, empty, not finite, or with indices beyond the vertices.
    """
    suffix = check_mesh_format(path)
    vertices, faces, colors = np.asarray(vertices, np.float32), np.asarray(faces), np.asarray(colors)
    _check("vertices", vertices, 3)
    _check("colors", colors, 3)
    _check_faces(faces, len(vertices))
    if len(colors) != len(vertices):
        raise ValueError(f"{len(colors)} colours for {len(vertices)} vertices")
    if suffix == ".glb":
        normals = vertex_normals(vertices, faces) if normals is None else normals
        content = encode_glb(vertices, normals, faces, colors, unlit=unlit)
    else:
        content = _encode(suffix, vertices, faces, colors)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def save_textured_mesh(
    path: str | os.PathLike, vertices: np.ndarray, faces: np.ndarray, texture: Texture, unlit: bool = True
) -> list[Path]:
    """Write a mesh with its texture, in the format of its suffix and with the axes of `save_mesh`.

    A .glb holds all of it. Beside x.obj there are x.mtl and x_texture.png; they are made beside their places and
    moved there one after the other once all are complete, the .obj last.

    Args:
        path: ends in .glb or .obj.
        vertices: (V, 3) positions.
        faces: (F, 3) integer indices of vertices, counter-clockwise seen from outside.
        texture: of this mesh.
        unlit: viewers show the colours as they are; otherwise they light them.

    Returns:
        The files.

    Raises:
        UserError: another suffix, or a place that cannot be written.
        ValueError: arrays of another shape, empty, not finite, or that do not belong together.
    """
    path, suffix = Path(path), check_mesh_format(path)
    if suffix not in TEXTURED_FORMATS:
        raise UserError(f"{suffix} holds no texture", path, f"end the name in {' or '.join(TEXTURED_FORMATS)}")
    vertices, faces = np.asarray(vertices, np.float32), np.asarray(faces)
    _check("vertices", vertices, 3)
    _check("uv", texture.uv, 2)
    _check_faces(faces, len(vertices))
    _check_faces(texture.faces, len(texture.uv))
    if not np.array_equal(texture.vertex[texture.faces], faces):
        raise ValueError("the texture is of another mesh")
    contents = {path: b""}
    normals, png = vertex_normals(vertices, faces), _png(texture.picture)
    if suffix == ".glb":
        at = texture.vertex
        contents[path] = encode_glb(vertices[at], normals[at], texture.faces, uv=texture.uv, png=png, unlit=unlit)
    else:
        library, picture = path.with_suffix(".mtl"), path.with_name(f"{path.stem}_texture.png")
        contents[path] = _obj(vertices, normals, faces, texture, library.name)
        contents |= {library: _mtl(picture.name, unlit), picture: png}
    with contextlib.ExitStack() as stack:
        # Left in the opposite order, so that the .obj is the last to appear.
        places = {name: stack.enter_context(atomic_path(name)) for name in contents}
        for name, content in contents.items():
            places[name].write_bytes(content)
    return list(contents)


def check_mesh_format(path: str | os.PathLike) -> str:
    """Return the suffix in lower case, or raise UserError if no mesh can be written so."""
    suffix = Path(path).suffix.lower()
    if suffix not in MESH_FORMATS:
        raise UserError(
            f"unknown mesh format {Path(path).suffix!r}", path, f"end the name in {', '.join(MESH_FORMATS)}"
        )
    return suffix


def is_former_obj(path: str | os.PathLike) -> bool:
    """Whether an .obj was written by this project when it still wrote them Z up, told by how it begins.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        start = stream.read(1000)
    return bool(_FORMER_COLOURED.match(start) or _FORMER_TEXTURED.match(start))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Normals (V, 3): the mean of the faces around a vertex by area, of length 1, or 0 where there is no area.

    A quarter of trimesh's time, whose mean is by angle: a million faces take 0.1 s.
    """
    x, y, z = (vertices[:, axis].astype(np.float64)[faces] for axis in range(3))
    a, b = ([axis[:, corner] - axis[:, 0] for axis in (x, y, z)] for corner in (1, 2))
    of_faces = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    sums = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            sums[:, axis] += np.bincount(faces[:, corner], of_faces[axis], len(vertices))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.divide(sums, lengths, out=sums, where=lengths > 0)


def _check(name: str, array: np.ndarray, width: int) -> None:
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise ValueError(f"{name} are (N, {width}) with N > 0, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} are not finite")


def _check_faces(faces: np.ndarray, count: int) -> None:
    _check("faces", faces, 3)
    if faces.min() < 0 or faces.max() >= count:
        raise ValueError(f"faces point to {faces.min()}..{faces.max()} of {count} vertices")


def _encode(suffix: str, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> bytes:
    import trimesh

    if suffix == ".obj":
        vertices = z_up_to_y_up(vertices)
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=to_uint8(colors), process=False)
    if suffix == ".obj":
        return (_OBJ_HEADER + mesh.export(file_type="obj", header=None, digits=6)).encode()
    return mesh.export(file_type=suffix[1:])


def _obj(vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, texture: Texture, library: str) -> bytes:
    """Wavefront OBJ: Y up, positions are shared across seams, v goes up, numbers begin at 1."""
    vertices, normals = z_up_to_y_up(vertices), z_up_to_y_up(normals)
    lines = [_OBJ_HEADER.rstrip(), f"mtllib {library}", "usemtl material"]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices.tolist()]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in normals.tolist()]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in texture.uv.tolist()]
    corners = np.stack([faces, texture.faces, faces], axis=2).reshape(-1, 9) + 1
    lines += ["f {}/{}/{} {}/{}/{} {}/{}/{}".format(*numbers) for numbers in corners.tolist()]
    return ("\n".join(lines) + "\n").encode()


def _mtl(picture: str, unlit: bool) -> bytes:
    # Illumination model 0 is the colour alone, 1 lights it; neither has highlights.
    lines = ["newmtl material", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", f"illum {0 if unlit else 1}"]
    return ("\n".join([*lines, f"map_Kd {picture}"]) + "\n").encode()


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
