"""Coloured triangle meshes into files."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.images import to_uint8
from openlrm.utils.paths import atomic_path

MESH_FORMATS = (".ply", ".obj", ".glb", ".stl")
"""Suffixes `save_mesh` knows; .stl holds no colours."""

# Numbers the glTF 2.0 specification gives to component types and buffer targets.
_USHORT, _UINT, _FLOAT = 5123, 5125, 5126
_ATTRIBUTES, _INDICES = 34962, 34963


def save_mesh(path: str | os.PathLike, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> None:
    """Write a mesh whole or not at all, in the format of its suffix.

    Convention: the mesh is Z-up with its front towards -Y. .ply, .obj and .stl keep these axes; .glb is
    turned to glTF's own, Y-up with the front towards +Z, so that the object stands upright in viewers.

    Args:
        path: ends in .ply (binary), .obj, .glb or .stl (binary, without colours).
        vertices: (V, 3) positions.
        faces: (F, 3) integer indices of vertices, counter-clockwise seen from outside.
        colors: (V, 3) sRGB in [0, 1].

    Raises:
        UserError: another suffix, or a place that cannot be written.
        ValueError: arrays of another shape, empty, not finite, or with indices beyond the vertices.
    """
    suffix = check_mesh_format(path)
    vertices, faces, colors = np.asarray(vertices, np.float32), np.asarray(faces), np.asarray(colors)
    _check(vertices, faces, colors)
    with atomic_path(path) as temporary:
        temporary.write_bytes(_encode(suffix, vertices, faces, colors))


def check_mesh_format(path: str | os.PathLike) -> str:
    """Return the suffix in lower case, or raise UserError if no mesh can be written so."""
    suffix = Path(path).suffix.lower()
    if suffix not in MESH_FORMATS:
        raise UserError(
            f"unknown mesh format {Path(path).suffix!r}", path, f"end the name in {', '.join(MESH_FORMATS)}"
        )
    return suffix


def _check(vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> None:
    for name, array in (("vertices", vertices), ("faces", faces), ("colors", colors)):
        if array.ndim != 2 or array.shape[1] != 3 or not len(array):
            raise ValueError(f"{name} are (N, 3) with N > 0, not {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} are not finite")
    if len(colors) != len(vertices):
        raise ValueError(f"{len(colors)} colours for {len(vertices)} vertices")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces point to {faces.min()}..{faces.max()} of {len(vertices)} vertices")


def _encode(suffix: str, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> bytes:
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=to_uint8(colors), process=False)
    if suffix == ".glb":
        return _glb(vertices, faces, np.asarray(mesh.vertex_normals), colors)
    options = {".obj": {"header": None, "digits": 6}}.get(suffix, {})
    content = mesh.export(file_type=suffix[1:], **options)
    return content.encode() if isinstance(content, str) else content


def _glb(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, colors: np.ndarray) -> bytes:
    """Return a binary glTF 2.0 file.

    Written here because viewers need what trimesh leaves out: a material that is no metal (the default one
    is, and looks black), normals (or they shade flat) and colours of more than 8 bits, as linear ones of 8
    bits show bands in the dark.
    """
    # A vertex without area has no normal, but glTF wants unit length.
    normals = np.where(np.linalg.norm(normals, axis=1, keepdims=True) > 0.5, normals, (0, 0, 1))
    rgba = np.concatenate([srgb_to_linear(colors), np.ones((len(colors), 1))], axis=1)
    positions = _z_up_to_y_up(vertices)
    parts = [
        (
            positions,
            _FLOAT,
            "VEC3",
            _ATTRIBUTES,
            {"min": _numbers(positions.min(0)), "max": _numbers(positions.max(0))},
        ),
        (_z_up_to_y_up(normals), _FLOAT, "VEC3", _ATTRIBUTES, {}),
        (np.rint(rgba * 65535).astype("<u2"), _USHORT, "VEC4", _ATTRIBUTES, {"normalized": True}),
        (faces.astype("<u4").reshape(-1), _UINT, "SCALAR", _INDICES, {}),
    ]
    views, accessors, binary = [], [], b""
    for index, (array, component, kind, target, extra) in enumerate(parts):
        # Every part is a whole number of 4 bytes long, so all of them stay aligned.
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": index, "componentType": component, "count": len(array), "type": kind, **extra})
        binary += array.tobytes()
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document = {
        "asset": {"version": "2.0", "generator": "OpenLRM for MindSpore"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def srgb_to_linear(colors: np.ndarray) -> np.ndarray:
    """Undo the sRGB transfer function (IEC 61966-2-1) of values in [0, 1]; others are clipped."""
    colors = np.clip(colors, 0, 1)
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _z_up_to_y_up(vectors: np.ndarray) -> np.ndarray:
    """Turn by -90 degrees about x: (x, y, z) becomes (x, z, -y)."""
    x, y, z = vectors.T
    return np.stack([x, z, -y], axis=1).astype("<f4")


def _numbers(array: np.ndarray) -> list[float]:
    return [float(value) for value in array]
