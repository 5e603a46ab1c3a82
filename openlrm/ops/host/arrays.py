"""Arrays of the compiled kernels."""

from __future__ import annotations

import threading

import numpy as np
from mindspore import Tensor, bfloat16, float32, float64

_kept = threading.local()


def aligned_array(count: int) -> np.ndarray:
    """(count,) float32, not set, that begin at a cache line, for the compiled loops."""
    room = np.empty(count + 16, np.float32)
    first = -room.ctypes.data % 64 // 4
    return room[first : first + count]


def scratch(count: int) -> np.ndarray:
    """(count,) float32, not set, at a cache line, this thread's to use until it asks again.

    Room that a compiled loop asks for itself is given back to the system when it ends, and new pages cost 4 % of a
    transformer's time.
    """
    if len(getattr(_kept, "room", ())) < count:
        _kept.room = aligned_array(count)
    return _kept.room[:count]


def scratch_pairs(count: int) -> np.ndarray:
    """The same room as (count,) int32, each a pair of bfloat16."""
    return scratch(count).view(np.int32)


def host_array(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers as a C-contiguous array, without a copy where it is one.

    Raises:
        TypeError: not float32.
    """
    if tensor.dtype != float32:
        raise TypeError(f"compiled loops take float32, not {tensor.dtype}: cast the tensor or run in graph mode")
    return np.ascontiguousarray(tensor.asnumpy())


def weight_array(tensor: Tensor) -> np.ndarray:
    """Like `host_array`, of a weight that may be bfloat16: then the numbers' bits in uint16.

    Raises:
        TypeError: of another kind.
    """
    if tensor.dtype == bfloat16:
        return np.ascontiguousarray(tensor.asnumpy()).view(np.uint16)
    return host_array(tensor)


def widened(array: np.ndarray) -> np.ndarray:
    """What `weight_array` gives, in float32."""
    return (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array


def float_array(tensor: Tensor) -> np.ndarray:
    """Like `host_array`, of float32 or float64: for loops that are compiled for either and checked in the wider one.

    Raises:
        TypeError: of another kind.
    """
    if tensor.dtype not in (float32, float64):
        raise TypeError(f"these loops take float32 or float64, not {tensor.dtype}")
    return np.ascontiguousarray(tensor.asnumpy())


def check_array(array: np.ndarray, name: str, shape: tuple[int | None, ...], contiguous: bool = True) -> None:
    """Refuse an array that compiled loops would be compiled anew for, or would read or write beyond its end.

    Args:
        array: to look at.
        name: what the error calls it.
        shape: what it should be; None for a length that may be any.
        contiguous: whether its numbers lie in C order without gaps.

    Raises:
        TypeError: not float32, or not contiguous.
        ValueError: another shape.
    """
    if array.dtype != np.float32:
        raise TypeError(f"{name} is {array.dtype}, compiled loops take float32")
    if contiguous and not array.flags.c_contiguous:
        raise TypeError(f"{name} is not C-contiguous: use numpy.ascontiguousarray")
    if array.ndim != len(shape) or any(want not in (None, size) for want, size in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")
