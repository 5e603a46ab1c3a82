"""PyTorch's zip files of tensors, read without running what is in them.

Such a file is a zip with `NAME/data.pkl`, a pickle, and `NAME/data/KEY`, the bytes of each storage. A pickle is a
program for a stack machine. Here the machine is our own and knows only what builds dictionaries, lists, tuples, texts
and numbers; of the names that a pickle may call it knows three kinds: storages, which become descriptions of bytes,
the function that makes a tensor of one, which becomes our own, and OrderedDict, which becomes a dict. Lightning writes
objects of other classes beside the tensors: those become placeholders, whatever the pickle would have called. Nothing
is imported, and any other instruction ends the reading.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.file_kind import PICKLE_HINT

_STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "bf16",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
}
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED = "collections OrderedDict"
_KNOWN = {*_STORAGES, _TENSOR, _PARAMETER, _ORDERED}
_MOST_PICKLE = 64 << 20
_MOST_DIMS = 32
# Tensors may share a storage; all together they are not allowed to be many times the file.
_MOST_COPIES = 4


def is_torch_zip(path: str | Path) -> bool:
    """Whether a file is a zip that holds a data.pkl in a folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _pickle_name(archive) is not None
    except (OSError, zipfile.BadZipFile):
        return False


def read_torch_zip(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch file, or of the `state_dict` in it.

    Args:
        path: the file.

    Returns:
        name -> array, bfloat16 as float32; what is no tensor is left out.

    Raises:
        UserError: anything but a dictionary of tensors, damaged, or with a name or instruction that is not known.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = _pickle_name(archive)
            if name is None:
                raise ValueError("it has no data.pkl")
            if archive.getinfo(name).file_size > _MOST_PICKLE:
                raise ValueError(f"its data.pkl is larger than {_MOST_PICKLE >> 20} MiB")
            machine = _Machine()
            content = machine.run(archive.read(name))
            if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
                content = content["state_dict"]
            if not isinstance(content, dict):
                raise ValueError("it holds no dictionary")
            folder = name.removesuffix("data.pkl")
            found = {key: value for key, value in content.items() if isinstance(value, _TensorPart)}
            if not found or not all(isinstance(key, str) for key in found):
                unknown = f": its pickle names {machine.unknown}" if machine.unknown else ""
                raise ValueError(f"it holds no tensors by name{unknown}")
            if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
                raise ValueError("its numbers are not little-endian")
            if sum(math.prod(value.shape) for value in found.values()) > _MOST_COPIES * Path(path).stat().st_size:
                raise ValueError("its tensors are views of the same numbers, many times what the file holds")
            return {key: value.read(archive, folder) for key, value in found.items()}
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
        if isinstance(error, UserError):
            raise
        what = f"a PyTorch file that is no plain dictionary of tensors ({error}); nothing in it was run"
        raise UserError(what, str(path), PICKLE_HINT) from error


@dataclass(frozen=True)
class _Name:
    """A class or function that a pickle names."""

    text: str


class _Other:
    """What stands for an object of no use here."""


@dataclass(frozen=True)
class _Storage:
    """Bytes in the zip, which are numbers of a kind."""

    kind: str
    key: str
    size: int


@dataclass(frozen=True)
class _TensorPart:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, archive: zipfile.ZipFile, folder: str) -> np.ndarray:
        """The numbers, a copy."""
        kind = np.dtype("<u2" if self.storage.kind == "bf16" else self.storage.kind)
        entry = archive.getinfo(f"{folder}data/{self.storage.key}")
        if entry.file_size != self.storage.size * kind.itemsize:
            raise ValueError(f"{entry.filename} has {entry.file_size} bytes, not {self.storage.size} numbers of {kind}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{entry.filename} is compressed")
        values = np.frombuffer(archive.read(entry), kind)
        end = self.offset + 1 + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if math.prod(self.shape) and end > len(values):
            raise ValueError(f"a tensor of shape {self.shape} goes beyond its storage of {len(values)}")
        if not math.prod(self.shape):
            values = np.empty(self.shape, kind)
        else:
            steps = [step * kind.itemsize for step in self.strides]
            values = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps).copy()
        return (values.astype(np.uint32) << 16).view(np.float32) if self.storage.kind == "bf16" else values


class _Machine:
    """The stack machine of pickles, with the instructions that PyTorch writes and no others."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.unknown = ""  # the first name that is not known

    def run(self, program: bytes) -> Any:
        """The object that a pickle describes."""
        for instruction, argument, _ in pickletools.genops(program):
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            if name in ("PROTO", "FRAME"):
                continue
            step = getattr(self, f"_do_{name.lower()}", None)
            if step is not None:
                step(argument)
            elif name in _VALUES:
                self.stack.append(_VALUES[name]())
            elif name in _LITERALS:
                self.stack.append(argument)
            else:
                raise ValueError(f"its pickle holds the instruction {name}")
        raise ValueError("its pickle has no end")

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _do_mark(self, _) -> None:
        self.marks.append(len(self.stack))

    def _do_tuple(self, _) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _do_tuple1(self, _) -> None:
        self._last(1)

    def _do_tuple2(self, _) -> None:
        self._last(2)

    def _do_tuple3(self, _) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _do_binput(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    _do_long_binput = _do_binput

    def _do_memoize(self, _) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _do_binget(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    _do_long_binget = _do_binget

    def _do_setitem(self, _) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._into(self.stack[-1], [key, value])

    def _do_setitems(self, _) -> None:
        taken = self._since_mark()
        self._into(self.stack[-1], taken)

    def _into(self, target: Any, pairs: list[Any]) -> None:
        if isinstance(target, _Other):
            return
        if not isinstance(target, dict):
            raise ValueError("its pickle puts entries into what is no dictionary")
        # Keys that are no names have no use here, and hashing those that are made of others may take forever.
        target.update({key: value for key, value in zip(pairs[::2], pairs[1::2], strict=True) if isinstance(key, str)})

    def _do_append(self, _) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _do_appends(self, _) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], _Other):
            return
        if not isinstance(self.stack[-1], list):
            raise ValueError("its pickle appends to what is no list")
        self.stack[-1].extend(values)

    def _do_global(self, argument: str) -> None:
        self._name(argument)

    def _do_stack_global(self, _) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self._name(f"{module} {attribute}")

    def _name(self, text: str) -> None:
        if text not in _KNOWN and not self.unknown:
            self.unknown = text.replace(" ", ".")[:100]
        self.stack.append(_Name(text))

    def _do_binpersid(self, _) -> None:
        described = self.stack.pop()
        word, kind, key, _place, size = described
        if word != "storage" or not isinstance(kind, _Name):
            raise ValueError("its pickle refers to something that is no storage")
        if kind.text not in _STORAGES:
            raise ValueError(f"its pickle names {kind.text.replace(' ', '.')[:100]}")
        if not isinstance(key, str) or type(size) is not int or size < 0:
            raise ValueError("a storage without a name or a size")
        self.stack.append(_Storage(_STORAGES[kind.text], key, size))

    def _do_reduce(self, _) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if called == _Name(_ORDERED) and arguments == ():
            self.stack.append({})
        elif called == _Name(_TENSOR):
            self.stack.append(_tensor(*arguments))
        elif called == _Name(_PARAMETER) and isinstance(arguments, tuple) and arguments:
            self.stack.append(arguments[0])
        else:
            self.stack.append(_Other())

    _do_newobj = _do_reduce
    _do_additems = _do_appends

    def _do_build(self, _) -> None:
        # Attributes of an object, or beside a dictionary, as `_metadata` of a state_dict: not of use here.
        self.stack.pop()


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _TensorPart:
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers):
        raise ValueError("a tensor without storage, or with sizes that cannot be")
    if len(shape) != len(strides) or len(shape) > _MOST_DIMS:
        raise ValueError(f"a tensor of shape {shape} with strides {strides}")
    return _TensorPart(storage, offset, tuple(shape), tuple(strides))


_VALUES = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_LITERALS = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
}


def _pickle_name(archive: zipfile.ZipFile) -> str | None:
    names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    return names[0] if len(names) == 1 else None
