"""Gaussians as binary glTF 2.0 with the extension KHR_gaussian_splatting (ratified by the Khronos Group, 2026).

A primitive of points whose attributes hold activated values: scales linear, opacities in [0, 1], quaternions x, y, z,
w, colours as the harmonic of degree 0. Programs without the extension show coloured points.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.geometry.glb import GlbFile, srgb_to_linear
from openlrm.representations.gaussians.axes import turn_from, turn_to
from openlrm.representations.gaussians.ply import BAND_0, LEAST_OPACITY
from openlrm.representations.gaussians.record import Gaussians
from openlrm.utils.paths import atomic_path

EXTENSION = "KHR_gaussian_splatting"

_FLOAT, _USHORT, _ATTRIBUTES, _POINTS = 5126, 5123, 34962, 0
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
# Component types that the extension allows, and what normalised ones are divided by.
_TYPES = {5120: ("i1", 127), 5121: ("u1", 255), 5122: ("<i2", 32767), 5123: ("<u2", 65535), 5126: ("<f4", 1)}


def save_glb(path: str | os.PathLike, gaussians: Gaussians) -> int:
    """Write a file whole or not at all; turned to glTF's axes, y up.

    Args:
        path: of the file.
        gaussians: those below LEAST_OPACITY are left out.

    Returns:
        Gaussians written.

    Raises:
        UserError: nothing to write (glTF knows no empty primitive), or a place that cannot be written.
    """
    g = turn_to(gaussians.kept(gaussians.opacities[:, 0] >= LEAST_OPACITY), "y_up")
    if not len(g):
        raise UserError(f"no Gaussian of an opacity of {LEAST_OPACITY} or more to write", path)
    file = GlbFile()
    limits = {"min": g.means.min(0).tolist(), "max": g.means.max(0).tolist()}
    rgba = np.concatenate([srgb_to_linear(g.colors), g.opacities], axis=1)
    values = {
        "POSITION": (g.means, "VEC3", limits),
        f"{EXTENSION}:ROTATION": (g.rotations[:, [1, 2, 3, 0]], "VEC4", None),
        f"{EXTENSION}:SCALE": (g.scales, "VEC3", None),
        f"{EXTENSION}:OPACITY": (g.opacities, "SCALAR", None),
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": ((g.colors - 0.5) / BAND_0, "VEC3", None),
    }
    attributes = {
        name: file.add(array.astype("<f4"), _FLOAT, kind, _ATTRIBUTES, extra)
        for name, (array, kind, extra) in values.items()
    }
    levels = np.rint(np.clip(rgba, 0, 1) * 65535).astype("<u2")
    attributes["COLOR_0"] = file.add(levels, _USHORT, "VEC4", _ATTRIBUTES, {"normalized": True})
    splats = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    document = {
        "asset": {"version": "2.0", "generator": "OpenLRM for MindSpore"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "mode": _POINTS, "extensions": {EXTENSION: splats}}]}],
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.encode(document))
    return len(g)


def read_glb(path: str | os.PathLike) -> Gaussians:
    """Read a file with one primitive of Gaussians, from glTF's axes; harmonics above degree 0 are left out.

    Raises:
        UserError: missing, damaged, or without Gaussians.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read ({error.strerror})", path) from error
    try:
        document, binary = _chunks(content)
        attributes = next(
            primitive["attributes"]
            for mesh in document["meshes"]
            for primitive in mesh["primitives"]
            if EXTENSION in primitive.get("extensions", {})
        )

        def values(name: str, width: int) -> np.ndarray:
            return _accessor(document, binary, attributes[name], width)

        rotations = values(f"{EXTENSION}:ROTATION", 4)[:, [3, 0, 1, 2]]
        found = Gaussians(
            values("POSITION", 3),
            values(f"{EXTENSION}:SCALE", 3),
            rotations / np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-12),
            values(f"{EXTENSION}:OPACITY", 1),
            np.clip(0.5 + BAND_0 * values(f"{EXTENSION}:SH_DEGREE_0_COEF_0", 3), 0, 1),
        )
    except StopIteration:
        raise UserError(f"a .glb file without {EXTENSION}", path, "a mesh?") from None
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise UserError(f"a .glb file of Gaussians that is damaged ({error})", path) from error
    return turn_from(found, "y_up")


def _chunks(content: bytes) -> tuple[dict, bytes]:
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", content)
    if magic != b"glTF" or version != 2 or length > len(content) or kind != b"JSON":
        raise ValueError("no whole binary glTF 2.0")
    document = json.loads(content[20 : 20 + size])
    binary_size, kind = struct.unpack_from("<I4s", content, 20 + size)
    if kind != b"BIN\0":
        raise ValueError("no binary chunk")
    return document, content[28 + size : 28 + size + binary_size]


def _accessor(document: dict, binary: bytes, number: int, width: int) -> np.ndarray:
    """(N, width) float32 values of an accessor."""
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    name, most = _TYPES[accessor["componentType"]]
    if _WIDTHS[accessor["type"]] != width:
        raise ValueError(f"an accessor is {accessor['type']}, not of {width} numbers")
    item, count = np.dtype(name).itemsize * width, int(accessor["count"])
    stride = int(view.get("byteStride", item))
    offset = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    if min(count, offset) < 0 or stride < item or offset + max(count - 1, 0) * stride + item > len(binary):
        raise ValueError("an accessor reaches beyond the file")
    values = np.ndarray((count, width), name, binary, offset, (stride, np.dtype(name).itemsize)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return values / most if accessor.get("normalized") else values
