"""Triangle meshes as binary glTF 2.0.

Written here because viewers need what trimesh leaves out: a material that is no metal (the default one is, and looks
black), normals (or they shade flat), and colours of more than 8 bits, as linear ones of 8 bits show bands in the dark.
"""

from __future__ import annotations

import json
import struct

import numpy as np

# Numbers the specification gives to component types, buffer targets and filters.
_USHORT, _UINT, _FLOAT = 5123, 5125, 5126
_ATTRIBUTES, _INDICES = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071


def encode_glb(
    positions: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    png: bytes = b"",
    unlit: bool = True,
) -> bytes:
    """Return the file's content.

    Args:
        positions: (V, 3), Z-up with the front towards -Y; turned to glTF's Y-up with the front towards +Z.
        normals: (V, 3), turned likewise; of length 1, or 0 where there is none.
        faces: (F, 3), counter-clockwise seen from outside.
        colors: (V, 3) sRGB in [0, 1].
        uv: (V, 2), v down from the picture's upper edge.
        png: the texture, sRGB, if there is uv.
        unlit: ask viewers to show colours as they are (KHR_materials_unlit), without light of their own.
    """
    # A vertex without area has no normal, but glTF wants unit length.
    normals = np.where(np.linalg.norm(normals, axis=1, keepdims=True) > 0.5, normals, (0, 0, 1))
    file = GlbFile()
    positions = z_up_to_y_up(positions)
    limits = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
    attributes = {
        "POSITION": file.add(positions, _FLOAT, "VEC3", _ATTRIBUTES, limits),
        "NORMAL": file.add(z_up_to_y_up(normals), _FLOAT, "VEC3", _ATTRIBUTES),
    }
    material: dict = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}
    if colors is not None:
        rgba = np.concatenate([srgb_to_linear(colors), np.ones((len(colors), 1))], axis=1)
        levels = np.rint(rgba * 65535).astype("<u2")
        attributes["COLOR_0"] = file.add(levels, _USHORT, "VEC4", _ATTRIBUTES, {"normalized": True})
    if uv is not None:
        attributes["TEXCOORD_0"] = file.add(uv.astype("<f4"), _FLOAT, "VEC2", _ATTRIBUTES)
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    indices = file.add(faces.astype("<u4").reshape(-1), _UINT, "SCALAR", _INDICES)
    document = {
        "asset": {"version": "2.0", "generator": "OpenLRM for MindSpore"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [material],
    }
    if uv is not None:
        wrap = {"wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}
        document["samplers"] = [{"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR} | wrap]
        document["images"] = [{"bufferView": file.append(png), "mimeType": "image/png"}]
        document["textures"] = [{"source": 0, "sampler": 0}]
    if unlit:
        material["extensions"] = {"KHR_materials_unlit": {}}
        document["extensionsUsed"] = ["KHR_materials_unlit"]
    return file.encode(document)


class GlbFile:
    """Binary chunk of a file with its table of contents."""

    def __init__(self) -> None:
        self._views: list[dict] = []
        self._accessors: list[dict] = []
        self._binary = bytearray()

    def append(self, content: bytes) -> int:
        """Add bytes; return the number of their buffer view."""
        self._views.append({"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content)})
        # Every part begins at a multiple of 4 bytes.
        self._binary += content + bytes(-len(content) % 4)
        return len(self._views) - 1

    def add(self, array: np.ndarray, component: int, kind: str, target: int, extra: dict | None = None) -> int:
        """Add an array; return the number of its accessor."""
        view = self.append(array.tobytes())
        self._views[view]["target"] = target
        accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        self._accessors.append(accessor | (extra or {}))
        return len(self._accessors) - 1

    def encode(self, document: dict) -> bytes:
        """Bytes of a .glb: `document`, the glTF's other parts, with what was added."""
        document = document | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._binary), b"BIN\0") + self._binary
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def srgb_to_linear(colors: np.ndarray) -> np.ndarray:
    """Undo the sRGB transfer function (IEC 61966-2-1) of values in [0, 1]; others are clipped."""
    colors = np.clip(colors, 0, 1)
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def z_up_to_y_up(vectors: np.ndarray) -> np.ndarray:
    """Turn (N, 3) vectors by -90 degrees about x: (x, y, z) becomes (x, z, -y), float32."""
    x, y, z = vectors.T
    return np.stack([x, z, -y], axis=1).astype("<f4")
