"""MindSpore's .ckpt, read and written without MindSpore.

Its own reader trusts the file: a tensor that claims a smaller shape than its bytes have is written past the end of its
memory, one that claims a larger shape gets whatever lies there. Here every length is checked first, and nothing is
allocated that the file does not hold.

The file is one protobuf message, as MindSpore's checkpoint.proto describes it:

    Checkpoint: 1 = Value, repeated
    Value:      1 = name, 2 = tensor (3 = map tensor, not read)
    tensor:     1 = dimension, repeated; 2 = name of the type; 3 = bytes, little-endian

A tensor above 512 MiB is written as several values of one name, each with the whole shape and a part of the bytes. The
shape [0] stands for a scalar. `crc_num` and ten bytes may follow the message: its CRC-32, the highest byte first.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

_DTYPES = {
    "Float64": np.dtype("<f8"),
    "Float32": np.dtype("<f4"),
    "Float16": np.dtype("<f2"),
    "BFloat16": np.dtype("<u2"),
    "Int64": np.dtype("<i8"),
    "Int32": np.dtype("<i4"),
    "Int16": np.dtype("<i2"),
    "Int8": np.dtype("i1"),
    "UInt64": np.dtype("<u8"),
    "UInt32": np.dtype("<u4"),
    "UInt16": np.dtype("<u2"),
    "UInt8": np.dtype("u1"),
    "Bool": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BFloat16"}
_TEXT = "str"
_SLICE_BYTES = 512 << 20
_CRC, _CRC_BYTES = b"crc_num", 17
_VARINT, _BYTES = 0, 2
_MAX_DIMS = 32


def read_ckpt(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a .ckpt file; texts among them (`append_dict`) are left out.

    Args:
        path: the file.

    Returns:
        name -> array, read-only, bfloat16 as float32.

    Raises:
        UserError: truncated, changed since it was written, encrypted or no checkpoint.
    """
    data = memoryview(Path(path).read_bytes())
    try:
        if data[-_CRC_BYTES:][: len(_CRC)] == _CRC:
            data, crc = data[:-_CRC_BYTES], int.from_bytes(data[len(_CRC) - _CRC_BYTES :], "big")
            if zlib.crc32(data) != crc:
                raise ValueError("its content does not have the CRC that is written behind it")
        tensors = _join(_values(data))
    except ValueError as error:
        what = f"damaged MindSpore checkpoint ({error})"
        raise UserError(what, str(path), "it may be cut short or encrypted: use an earlier one") from error
    if not tensors:
        raise UserError("damaged MindSpore checkpoint (it is empty)", str(path), "use an earlier one")
    return tensors


def write_ckpt(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Write tensors as a MindSpore .ckpt, whole or not at all.

    Args:
        path: the file.
        tensors: name -> array, in the precision they shall have; none of them empty.

    Raises:
        UserError: no space, or a place that cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for name, value in tensors.items():
            kind = _NAMES[value.dtype.newbyteorder("<")]
            content = np.ascontiguousarray(value, _DTYPES[kind]).reshape(-1).view(np.uint8)
            dims = b"".join(b"\x08" + _to_varint(size) for size in value.shape or (0,))
            for start in range(0, content.size, _SLICE_BYTES):
                part = content[start : start + _SLICE_BYTES]
                tensor = dims + _field(2, kind.encode()) + b"\x1a" + _to_varint(part.size)
                tag = _field(1, name.encode())
                head = tag + b"\x12" + _to_varint(len(tensor) + part.size) + tensor
                file.write(b"\x0a" + _to_varint(len(head) + part.size) + head)
                file.write(part.data)


def _values(data: memoryview) -> Iterator[tuple[str, str, list[int], memoryview]]:
    """Yield name, type, shape and bytes of every value of a checkpoint."""
    for number, value in _fields(data):
        if number != 1 or isinstance(value, int):
            raise ValueError(f"field {number} where a value was expected")
        fields = dict(_fields(value))
        if not isinstance(fields.get(1), memoryview) or not isinstance(fields.get(2), memoryview):
            raise ValueError("a value without name or tensor")
        name, kind, dims, content = str(fields[1], "utf-8"), None, [], None
        for inner, part in _fields(fields[2]):
            if inner == 1:
                dims += [part] if isinstance(part, int) else _packed(part)
            elif inner == 2 and not isinstance(part, int):
                kind = str(part, "utf-8")
            elif inner == 3 and not isinstance(part, int):
                content = part
        if kind is None or content is None:
            raise ValueError(f"{name} has no type or no content")
        yield name, kind, dims, content


def _join(values: Iterator[tuple[str, str, list[int], memoryview]]) -> dict[str, np.ndarray]:
    """Put the parts of each tensor together; parts follow each other."""
    tensors: dict[str, np.ndarray] = {}
    current, parts = None, []
    for name, kind, dims, content in values:
        if kind == _TEXT:
            continue
        if kind not in _DTYPES:
            raise ValueError(f"{name} has the unknown type {kind!r}")
        if (name, kind, dims) == current:
            parts.append(content)
            continue
        if current:
            tensors[current[0]] = _array(*current, parts)
        if name in tensors:
            raise ValueError(f"{name} is there twice")
        current, parts = (name, kind, dims), [content]
    if current:
        tensors[current[0]] = _array(*current, parts)
    return tensors


def _array(name: str, kind: str, dims: list[int], parts: list[memoryview]) -> np.ndarray:
    dtype, size = _DTYPES[kind], sum(map(len, parts))
    shape = [] if dims == [0] and size else dims
    if len(shape) > _MAX_DIMS or any(side >= 1 << 63 for side in shape) or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} has {size} bytes, which is not {kind} of shape {shape[:_MAX_DIMS]}")
    array = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype).reshape(shape)
    if kind == "Bool":
        return array.view(np.uint8) != 0  # a byte other than 0 and 1 is no bool
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "BFloat16" else array


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of the fields of a message."""
    at = 0
    while at < len(data):
        key, at = _from_varint(data, at)
        number, kind = key >> 3, key & 7
        value, at = _from_varint(data, at)
        if kind == _BYTES:
            size, value = value, data[at : at + value]
            if len(value) != size:
                raise ValueError(f"{len(value)} of {size} bytes are there")
            at += size
        elif kind != _VARINT:
            raise ValueError(f"no field is of kind {kind}")
        yield number, value


def _packed(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data) and len(numbers) <= _MAX_DIMS:
        number, at = _from_varint(data, at)
        numbers.append(number)
    return numbers


def _from_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has no end")


def _to_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _to_varint(len(content)) + content
