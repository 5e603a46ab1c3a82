"""PyTorch Lightning's .ckpt, read without PyTorch and without running any of its pickle.

The file is a zip: `NAME/data.pkl`, a pickle of a dict with `state_dict`, and `NAME/data/KEY`, the numbers of each
storage. A pickle is a program: `pickle.load` imports what it names and calls it. Here its instructions are looked at
one by one (`pickletools` parses them and runs nothing), containers, numbers and texts are put together, tensors become
records, and every other class or call becomes a placeholder. Nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openlrm.errors import UserError

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_MAX_DIMS = 32
# Views may share a storage; all together they are not allowed to be many times the file.
_MOST_COPIES = 4
_HINT = "it may be cut short: download or copy it again"


class _Named(NamedTuple):
    """A class or function that the pickle names."""

    module: str
    name: str


class _Storage(NamedTuple):
    kind: str
    key: str
    count: int


class _View(NamedTuple):
    """A tensor: a storage seen with offset, shape and strides, all in numbers."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


class _Other:
    """What stands for everything that is of no use here."""


def is_torch_archive(path: Path) -> bool:
    """Whether a file is a zip with a pickle, as torch.save and Lightning write it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _pickle_in(archive) is not None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_torch_archive(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors of `state_dict`, or of the dict that the file is, one after another.

    Args:
        path: the file.

    Yields:
        Name and array, bfloat16 as float32. Nothing when the file has no tensors.

    Raises:
        UserError: truncated, or it says of its tensors what is not so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            place = _pickle_in(archive)
            content = _interpret(_entry(archive, place, path))
            root = place.removesuffix("data.pkl")
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise ValueError("its numbers are not little-endian")
            views = content.get("state_dict", content) if isinstance(content, dict) else {}
            left = _MOST_COPIES * path.stat().st_size
            for name, view in views.items() if isinstance(views, dict) else ():
                if not isinstance(name, str) or not isinstance(view, _View):
                    continue
                array = _array(archive, root, view, path)
                left -= array.nbytes
                if left < 0:
                    raise ValueError("its tensors are views of the same numbers, many times what the file holds")
                yield name, array
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError) as error:
        raise UserError(f"damaged PyTorch file ({error})", path, _HINT) from error


def _pickle_in(archive: zipfile.ZipFile) -> str | None:
    return next((name for name in archive.namelist() if name.endswith("data.pkl")), None)


def _entry(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """Content of an entry, which is stored as it is: PyTorch compresses nothing."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
        raise ValueError(f"{name} is compressed, or longer than the file")
    return archive.read(info)


def _array(archive: zipfile.ZipFile, root: str, view: _View, path: Path) -> np.ndarray:
    """A tensor's numbers, contiguous."""
    storage, offset, shape, strides = view
    dtype = _DTYPES[storage.kind]
    numbers = np.frombuffer(_entry(archive, f"{root}data/{storage.key}", path), dtype)
    whole = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > _MAX_DIMS or any(type(n) is not int or n < 0 for n in whole):
        raise ValueError(f"a tensor has shape {shape[:_MAX_DIMS]} and strides {strides[:_MAX_DIMS]}")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size > len(numbers) or storage.count != len(numbers) or (size and last >= len(numbers)):
        raise ValueError(f"a tensor of shape {shape} reaches beyond its {len(numbers)} numbers")
    if not size:
        return np.empty(shape, np.float32 if storage.kind == "BFloat16Storage" else dtype)
    steps = [step * dtype.itemsize for step in strides]
    array = np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps)).reshape(shape)
    if storage.kind == "BoolStorage":
        return array.view(np.uint8) != 0
    return (array.astype(np.uint32) << 16).view(np.float32) if storage.kind == "BFloat16Storage" else array


def _interpret(program: bytes) -> Any:
    """What a pickle describes, without importing or calling anything.

    Raises:
        ValueError: no pickle, or one with instructions that PyTorch does not write.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for code, argument, _ in pickletools.genops(program):
        name = code.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            marks.append(len(stack))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
        elif name in ("APPENDS", "ADDITEMS"):
            _extend(stack, since_mark())
        elif name == "APPEND":
            _extend(stack, [stack.pop()])
        elif name == "SETITEMS":
            _set_items(stack, since_mark())
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set_items(stack, [key, value])
        elif name == "GLOBAL":
            stack.append(_Named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Named(module, attribute))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(_result(called, arguments))
        elif name == "BUILD":
            # The state of an object of no use; of an ordered dict its attributes.
            stack.pop()
        else:
            raise ValueError(f"its pickle has the instruction {name}, which PyTorch does not write")
    raise ValueError("its pickle has no end")


_CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING"),
)


def _extend(stack: list[Any], items: list[Any]) -> None:
    if isinstance(stack[-1], list):
        stack[-1].extend(items)


def _set_items(stack: list[Any], items: list[Any]) -> None:
    """Keys that are no names have no use here, and hashing them may take forever."""
    if isinstance(stack[-1], dict):
        stack[-1].update({k: v for k, v in zip(items[::2], items[1::2], strict=True) if isinstance(k, str)})


def _storage(identity: Any) -> Any:
    """The record of ("storage", class, key, place, count)."""
    if isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage":
        _, kind, key, _, count = identity
        if isinstance(kind, _Named) and kind.name in _DTYPES and isinstance(key, str):
            return _Storage(kind.name, key, count)
    return _Other()


def _result(called: Any, arguments: Any) -> Any:
    """What stands for the result of a call."""
    if not isinstance(called, _Named) or not isinstance(arguments, tuple):
        return _Other()
    if called == _Named("collections", "OrderedDict") and not arguments:
        return {}
    if called == _Named("torch._utils", "_rebuild_parameter") and arguments:
        return arguments[0]
    if called == _Named("torch._utils", "_rebuild_tensor_v2") and len(arguments) >= 4:
        storage, offset, shape, strides = arguments[:4]
        if isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple):
            return _View(storage, offset, shape, strides)
    return _Other()
