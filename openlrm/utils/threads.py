"""Work spread over this machine's cores, for the compiled kernels: they release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
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


# A fork copies the pool but none of its threads: the child makes its own when it needs one.
os.register_at_fork(after_in_child=_pool.cache_clear)


def spread(work: Callable[[int], None], tasks: int) -> None:
    """Call work(task) for every task below `tasks`, on threads that take what comes next; kernels release the GIL.

    The caller's thread works with the pool's, so `work` may spread work of its own: if no other thread is free, it is
    done here. Once a task has failed no other begins, and when this returns or raises none is running.

    Raises:
        BaseException: what a task raised; the caller's own first, as an interrupt is.
    """
    # A thread is given one job, not one for each task: those would cost more than a small task does.
    waiting, failed = count(), []

    def work_on() -> None:
        try:
            for task in waiting:
                if task >= tasks or failed:
                    return
                work(task)
        except BaseException:
            failed.append(True)
            raise

    jobs = [_pool().submit(work_on) for _ in range(min(tasks, host_threads()) - 1)]
    try:
        work_on()
    finally:
        # Nothing is left for a job that did not begin, and a nested one may wait behind its caller.
        begun = [job for job in jobs if not job.cancel()]
        wait(begun)
    for job in begun:
        job.result()


def spread_ranges(work: Callable[[int, int], None], length: int, step: int) -> None:
    """Call work(first, last) over range(length), `step` at a time, likewise."""
    spread(lambda task: work(task * step, min(task * step + step, length)), -(-length // step))
