"""Results of a function of a number, computed ahead and handed out in order.

Worker processes can die: the kernel kills them for memory, people by mistake. What they compute depends on its number
alone, so one that is gone is replaced and nothing is lost.

They are forked off a server that knows nothing but this package: not off the process that trains, whose device, its
threads and its connections to other workers a fork would copy half. What they are given is pickled.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from openlrm.errors import UserError
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

Result = TypeVar("Result")

ATTEMPTS = 3
"""Workers that may die of one result."""

_METHOD = "forkserver"


def ahead(job: Callable[[int], Result], first: int, end: int, workers: int) -> Iterator[Result]:
    """Compute job(first), ..., job(end - 1) ahead of the caller.

    Args:
        job: computes a result; with processes, it and the result are pickled. A script that is started by itself
            needs `if __name__ == "__main__":`, as for every process that Python starts.
        first: number of the first result.
        end: number behind the last one.
        workers: processes, each with one result waiting; with 1, or on Windows, a thread of this process.

    Returns:
        An iterator of the results in order. Closing it ends the workers at once.

    Raises:
        UserError: workers died of the same result `ATTEMPTS` times, on iterating.
        RuntimeError: the job raised in a worker, on iterating; its traceback is in the message.
    """
    if workers > 1 and _METHOD in multiprocessing.get_all_start_methods():
        return _by_processes(job, first, end, workers)
    return _by_thread(job, first, end)


def _by_thread(job: Callable[[int], Result], first: int, end: int) -> Iterator[Result]:
    with ThreadPoolExecutor(1, "data") as executor:
        coming = [executor.submit(job, number) for number in range(first, min(first + 1, end))]
        for number in range(first, end):
            result = coming.pop().result()
            if number + 1 < end:
                coming.append(executor.submit(job, number + 1))
            yield result


def _by_processes(job: Callable[[int], Result], first: int, end: int, count: int) -> Iterator[Result]:
    workers = [_Worker(job, range(first + place, end, count)) for place in range(count)]
    try:
        for number in range(first, end):
            place, died = (number - first) % count, 0
            while True:
                try:
                    result = workers[place].receive()
                    break
                except (EOFError, OSError):
                    how = workers[place].cause()
                    workers[place].stop()
                died += 1
                if died == ATTEMPTS:
                    what = f"{died} data workers died one after the other ({how}) making batch {number}"
                    raise UserError(what, hint="is there enough memory? lower num_parallel_workers or data.cache_mib")
                logger.warning("a data worker died (%s); another one takes its place", how)
                workers[place] = _Worker(job, range(number, end, count))
            yield result
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that computes results of some numbers, one ahead of those received."""

    def __init__(self, job: Callable[[int], Any], numbers: range):
        context = multiprocessing.get_context(_METHOD)
        # Imported once, by the server.
        context.set_forkserver_preload(["openlrm.datasets"])
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(job, numbers, theirs), daemon=True)
        self.process.start()
        theirs.close()  # or its death would not end the stream

    def receive(self) -> Any:
        result, failure = pickle.loads(self.connection.recv_bytes())
        if failure:
            raise RuntimeError(f"a data worker failed:\n{failure}")
        return result

    def cause(self) -> str:
        """What ended a process whose stream is at its end."""
        self.process.join(timeout=5)
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def _work(job: Callable[[int], Any], numbers: range, connection: Connection) -> None:
    """Body of a worker. Control-C is for the parent, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The server ends with the process that it works for.
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    for number in numbers:
        try:
            answer = job(number), None
        except Exception:
            answer = None, traceback.format_exc()
        connection.send_bytes(pickle.dumps(answer, protocol=5))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
