"""Work spread over this machine's cores, for the compiled kernels: they release the GIL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count


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
