"""Arrays of the compiled kernels."""

from __future__ import annotations

import threading

import numpy as np
from mindspore import Tensor

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


def host_array(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers as a C-contiguous array, without a copy where it is one."""
    return np.ascontiguousarray(tensor.asnumpy())
