"""Worker processes: in order, replaced when they are killed, gone with their parent."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from openlrm.datasets.workers import ATTEMPTS, ahead
from openlrm.errors import UserError

REPO = Path(__file__).resolve().parents[2]
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="threads there")


def squares(number: int) -> np.ndarray:
    return np.full(100_000, number**2)  # more than a pipe holds


def fails_at_two(number: int) -> int:
    return 6 // (number - 2)


def kills_itself_at_three(folder: Path, number: int) -> int:
    if number == 3:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("openlrm"), "propagate", True)
    return caplog


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(("first", "end"), [(0, 12), (7, 8), (3, 3)])
def test_results_come_in_order_and_once(workers, first, end):
    assert [result[-1] for result in ahead(squares, first, end, workers)] == [n**2 for n in range(first, end)]


@needs_fork
def test_killed_workers_are_replaced_and_nothing_is_lost(told, data_workers):
    before = data_workers()
    results = []
    for result in ahead(squares, 0, 12, 2):
        results.append(result[-1])
        if result[-1] in (4**2, 9**2):
            for worker in data_workers() - before:
                worker.kill()
    assert results == [n**2 for n in range(12)]
    warnings = [message for message in told.messages if "another one takes its place" in message]
    assert len(warnings) == 4
    assert "SIGKILL" in warnings[0]
    assert data_workers() == before


@needs_fork
def test_a_result_that_kills_every_worker_is_an_error(tmp_path, data_workers):
    job = functools.partial(kills_itself_at_three, tmp_path)
    before, results = data_workers(), []
    with pytest.raises(UserError, match=r"3 data workers died .*\(SIGKILL\) making batch 3.*num_parallel_workers"):
        results.extend(ahead(job, 0, 10, 2))
    assert len(list(tmp_path.iterdir())) == ATTEMPTS
    assert data_workers() == before


@needs_fork
def test_a_job_that_raises_in_a_worker_tells_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)in fails_at_two.*ZeroDivisionError"):
        list(ahead(fails_at_two, 0, 4, 2))


@needs_fork
def test_workers_end_when_their_parent_is_killed(data_workers):
    script = (
        "import time, numpy\n"
        "from openlrm.datasets.workers import ahead\n"
        "stream = ahead(numpy.zeros, 100_000, 100_100, 2)\n"
        "next(stream)\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    workers = data_workers(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)
