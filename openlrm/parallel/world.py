"""The workers of a job that msrun has started, and what they tell each other.

MindSpore's engine carries it: HCCL on Ascend, its own collective library on a CPU. The latter knows sums of float32,
and gathering of float32 and int32; nothing else is used here. One process is a world of its own and never communicates.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from openlrm.errors import UserError

Item = TypeVar("Item")

# A worker waits for the others while one validates or writes a checkpoint. On a CPU MindSpore gives up after 30 s
# unless told otherwise; this is what HCCL waits, about.
_CPU_PATIENCE = "1800"


@dataclass(frozen=True)
class World:
    """The workers of a job, seen from one of them. What is said of all of them, each has to call.

    Attributes:
        rank: number of this worker, from 0.
        size: number of workers.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Items of this worker: every one belongs to just one."""
        return list(items[self.rank :: self.size])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all workers, in float32; the same numbers on each."""
        if self.size == 1:
            return list(values)
        return _carry(_all_reduce(), np.array(values, np.float32)).tolist()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any worker."""
        return self.sum([float(flag)])[0] > 0

    def barrier(self) -> None:
        """Wait for all workers."""
        self.sum([0.0])

    def texts(self, text: str) -> list[str]:
        """Text of every worker, by rank."""
        if self.size == 1:
            return [text]
        data = text.encode()
        gather = _all_gather()
        lengths = _carry(gather, np.array([len(data)], np.int32))
        padded = data.ljust(4 * max(1, -(-int(lengths.max()) // 4)), b"\0")
        rows = _carry(gather, np.frombuffer(padded, np.int32)).reshape(self.size, -1)
        return [row.tobytes()[:length].decode() for row, length in zip(rows, lengths, strict=True)]


ALONE = World()
"""A single process."""


def setup_world(use_parallel: bool | None = None) -> World:
    """Meet the other workers, after the device is set and before any parameter is made.

    The scheduler, one more process that msrun starts with the same command, stays in here until all workers have
    ended, and ends.

    Args:
        use_parallel: True when the user expects several workers, False when none; None: as many as msrun has started.

    Raises:
        UserError: msrun is expected and was not used, or the other way round.
    """
    under_msrun = "MS_ROLE" in os.environ
    if use_parallel and not under_msrun:
        hint = "start with msrun --worker_num=N --local_worker_num=N --join=True python -m openlrm.launch ..."
        raise UserError("use_parallel=true, but this is a single process", hint=hint)
    if use_parallel is False and under_msrun:
        what = f"use_parallel=false, but msrun started {os.environ.get('MS_WORKER_NUM')} workers: each would run alone"
        raise UserError(what, hint="leave use_parallel out, or start without msrun")
    return _meet() if under_msrun else ALONE


@cache
def _meet() -> World:
    from mindspore.communication import get_group_size, get_rank, init

    os.environ.setdefault("MS_CPU_COMM_OP_TIMEOUT", _CPU_PATIENCE)
    init()
    return World(get_rank(), get_group_size())


@contextlib.contextmanager
def lost_workers_told() -> Iterator[None]:
    """Around collective operations: what fails there is another worker.

    Raises:
        UserError: in place of MindSpore's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        hint = "their logs say why; a training goes on with --resume"
        raise UserError(f"lost the connection to the other workers ({reason})", hint=hint) from error


@cache
def _all_reduce():
    from mindspore import ops

    return ops.AllReduce()


@cache
def _all_gather():
    from mindspore import ops

    return ops.AllGather()


def _carry(operator, values: np.ndarray) -> np.ndarray:
    from mindspore import Tensor

    with lost_workers_told():
        return operator(Tensor(values)).asnumpy()
