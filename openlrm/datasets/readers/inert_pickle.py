"""Read pickles of numbers and numpy arrays without running anything that is in them."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

_MAX_BYTES = 1 << 24
_ARRAY_MAKERS = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_SCALAR_MAKERS = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")}


def read_numbers(data: bytes) -> Any:
    """Decode a pickle of lists, tuples, dictionaries, text, numbers and numpy arrays.

    Nothing is imported by a name in it: arrays are rebuilt by code of ours, and any other name is an error.

    Raises:
        pickle.UnpicklingError: it wants something else, or is too large.
        Exception: nearly any, for a damaged one.
    """
    if len(data) > _MAX_BYTES:
        raise pickle.UnpicklingError("it is too large for cameras")
    return _plain(_Unpickler(io.BytesIO(data)).load())


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAY_MAKERS:
            return _Array
        if (module, name) in _SCALAR_MAKERS:
            return _scalar
        known = {("numpy", "ndarray"): _Type, ("numpy", "dtype"): _Type, ("_codecs", "encode"): _encode}
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"it would call {module}.{name}")


class _Type:
    """Stands for a dtype, told by its name; its state is its byte order."""

    def __init__(self, name: str = "", *_: Any) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = str(state[1])

    def dtype(self) -> np.dtype:
        found = np.dtype(self.name)
        if found.kind not in "fiub":
            raise pickle.UnpicklingError(f"it holds {found}, no numbers")
        return found.newbyteorder(self.order) if self.order in ("<", ">") else found


class _Array:
    """Stands for an array until its state has come."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        flat = np.frombuffer(data, kind.dtype())
        if math.prod(shape) != flat.size:
            raise pickle.UnpicklingError("an array has fewer numbers than its shape")
        self.array = flat.reshape(shape, order="F" if fortran else "C")


def _scalar(kind: _Type, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype())[0].item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 2's protocols write bytes."""
    return text.encode("latin1" if encoding in ("latin1", "latin-1") else "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
