"""Work on numpy arrays spread over this machine's cores, for the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from mindspore import Tensor


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
    list(_pool().map(work, range(tasks)))


def spread_ranges(work: Callable[[int, int], None], count: int, step: int) -> None:
    """Call work(first, last) over range(count), `step` at a time, likewise."""
    spread(lambda task: work(task * step, min(task * step + step, count)), -(-count // step))


def host_array(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers as a C-contiguous array, without a copy where it is one."""
    return np.ascontiguousarray(tensor.asnumpy())
