"""Work on numpy arrays spread over this machine's cores, for the compiled kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count

import numpy as np
from mindspore import Tensor

_kept = threading.local()


def host_threads() -> int:
    """Cores this process may use, or what NUMBA_NUM_THREADS says."""
    # Importing numba takes a third of a second, which a run without its kernels should not pay.
    from numba import config

    return config.NUMBA_NUM_THREADS


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(host_threads(), thread_name_prefix="openlrm")


def spread(work: Callable[[int], None], tasks: int) -> None:
    """Call work(task) for every task below `tasks`, on threads that take what comes next; kernels release the GIL."""
    # A thread is given one job, not one for each task: those would cost more than a small task does.
    waiting = count()

    def work_on() -> None:
        for task in waiting:
            if task >= tasks:
                return
            work(task)

    jobs = [_pool().submit(work_on) for _ in range(min(tasks, host_threads()))]
    for job in jobs:
        job.result()


def spread_ranges(work: Callable[[int, int], None], length: int, step: int) -> None:
    """Call work(first, last) over range(length), `step` at a time, likewise."""
    spread(lambda task: work(task * step, min(task * step + step, length)), -(-length // step))


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
