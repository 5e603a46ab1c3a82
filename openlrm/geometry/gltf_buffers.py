"""The binary side of a glTF 2.0 file: its document, buffers and accessors."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_MESHOPT = "EXT_meshopt_compression"
_MOST_EMPTY = 10_000_000  # numbers in an accessor without a buffer view, which can claim any


def load_document(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """Return the JSON document of a .glb or .gltf file and the binary chunk, if there is one.

    Raises:
        ValueError: no glTF of version 2.
        OSError: it cannot be read.
    """
    content, binary = path.read_bytes(), None
    if content[:4] == b"glTF":
        chunks, position = {}, 12
        while position + 8 <= len(content):
            length, kind = struct.unpack_from("<I4s", content, position)
            chunks.setdefault(kind, content[position + 8 : position + 8 + length])
            position += 8 + length
        content, binary = chunks.get(b"JSON", b""), chunks.get(b"BIN\0")
    document = json.loads(content)
    version = str(document["asset"]["version"])
    if not version.startswith("2."):
        raise ValueError(f"glTF of version {version}, not 2")
    return document, binary


class Buffers:
    """Accessors of a document, as arrays."""

    def __init__(self, document: dict[str, Any], binary: bytes | None, folder: Path) -> None:
        """Read nothing yet.

        Args:
            document: the JSON.
            binary: binary chunk of a .glb.
            folder: that buffers' addresses are relative to.
        """
        self._document, self._binary, self._folder = document, binary, folder
        self._read: dict[int, bytes] = {}

    def is_stored(self, index: int) -> bool:
        """Whether an accessor has values in the file itself, rather than in an extension's data alone."""
        accessor = self._document["accessors"][index]
        return "bufferView" in accessor or "sparse" in accessor

    def read(self, index: int, width: int) -> np.ndarray:
        """Return an accessor's values (3.6.2): (N, width) float64, normalised integers as -1..1 or 0..1.

        Raises:
            ValueError: another width, values beyond the buffer, or data that is compressed.
        """
        accessor = self._document["accessors"][index]
        count, kind = accessor["count"], np.dtype(_TYPES[accessor["componentType"]])
        if _WIDTHS.get(accessor["type"]) != width or count < 0:
            raise ValueError(f"accessor {index} holds {count} {accessor['type']}, {width} numbers each expected")
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], accessor.get("byteOffset", 0), count, width, kind)
        elif count * width > _MOST_EMPTY:
            raise ValueError(f"accessor {index} is too large: {count} values without data")
        else:
            values = np.zeros((count, width), kind)
        if "sparse" in accessor:
            values = self._replaced(values, accessor["sparse"])
        values = values.astype(np.float64)
        if accessor.get("normalized"):
            values = np.maximum(values / np.iinfo(kind).max, -1.0)
        return values

    def _replaced(self, values: np.ndarray, sparse: dict[str, Any]) -> np.ndarray:
        count, where, what = sparse["count"], sparse["indices"], sparse["values"]
        kind = np.dtype(_TYPES[where["componentType"]])
        rows = self._view(where["bufferView"], where.get("byteOffset", 0), count, 1, kind)[:, 0]
        values = values.copy()
        values[rows] = self._view(what["bufferView"], what.get("byteOffset", 0), count, values.shape[1], values.dtype)
        return values

    def _view(self, index: int, start: int, count: int, width: int, kind: np.dtype) -> np.ndarray:
        """Return (count, width) values of a buffer view, from a byte of it on."""
        view = self._document["bufferViews"][index]
        buffer = self._document["buffers"][view["buffer"]]
        if _MESHOPT in view.get("extensions", {}) and not self._has_data(view["buffer"], buffer):
            raise ValueError(f"it needs the glTF extension {_MESHOPT}, which is not read here: save it without")
        data = self._buffer(view["buffer"], buffer)
        first, row = view.get("byteOffset", 0), width * kind.itemsize
        stride = view.get("byteStride", row)
        block = data[first : first + view["byteLength"]][start:]
        if min(first, start) < 0 or stride < row or (count and (count - 1) * stride + row > len(block)):
            raise ValueError(f"buffer view {index} is too short for {count} values")
        return np.ndarray((count, width), kind, block, strides=(stride, kind.itemsize))

    def _has_data(self, index: int, buffer: dict[str, Any]) -> bool:
        if buffer.get("extensions", {}).get(_MESHOPT, {}).get("fallback"):
            return False
        return "uri" in buffer or (index == 0 and self._binary is not None)

    def _buffer(self, index: int, buffer: dict[str, Any]) -> bytes:
        if index not in self._read:
            address = buffer.get("uri")
            if address is None:
                if not self._has_data(index, buffer):
                    raise ValueError(f"buffer {index} has no data")
                self._read[index] = self._binary
            elif address.startswith("data:"):
                self._read[index] = base64.b64decode(address.partition(",")[2])
            elif "://" in address:
                raise ValueError(f"buffer {index} is not in a file: {address[:80]}")
            else:
                self._read[index] = (self._folder / unquote(address)).read_bytes()
        return self._read[index]
