"""Who does the work: processes of this machine, or a Ray cluster. Both do the same for an object."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from openlrm.errors import UserError
from openlrm.factory.work import FAILED, Job, Processes, Result, render_one

ENGINES = ("local", "ray")

_AHEAD = 4  # tasks per worker that wait in the cluster: none idles, and a list of a million objects stays here


def render_locally(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Render with a number of processes at a time.

    Closing the iterator, or an exception in it, ends the processes and removes what they have begun.

    Args:
        jobs: objects to render.
        workers: processes at a time.

    Yields:
        Results as they come.
    """
    processes = Processes()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting, running = iter(jobs), set()
        while True:
            for job in waiting:
                running.add(pool.submit(render_one, job, processes))
                if len(running) >= workers:
                    break
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        processes.end_all()
        pool.shutdown(wait=True, cancel_futures=True)


def render_on_ray(jobs: Sequence[Job], address: str | None, workers: int) -> Iterator[Result]:
    """Render on a Ray cluster, whose nodes see the same files and have this package and Blender.

    Closing the iterator, or an exception in it, cancels the tasks.

    Args:
        jobs: objects to render; each takes as many of the cluster's CPUs as it has threads.
        address: of the cluster, "auto" for the one this node belongs to; None starts one on this machine.
        workers: objects at a time, if it is started here; a cluster takes as many as its CPUs allow.

    Yields:
        Results as they come.

    Raises:
        UserError: ray is not installed, or there is no such cluster.
    """
    if not jobs:
        return
    ray = _start_ray(address, workers * jobs[0].threads)
    running: dict[Any, Job] = {}
    try:
        # A worker that dies is the object's failure, which the caller tries again.
        task = ray.remote(max_retries=0)(render_one)
        limit = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(jobs)
        while True:
            for job in waiting:
                running[task.options(num_cpus=job.threads, name=job.uid).remote(job)] = job
                if len(running) >= limit:
                    break
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                job = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    lines = str(error).strip().splitlines() or [type(error).__name__]
                    result = Result(job.uid, FAILED, f"the Ray worker was lost: {lines[0]}")
                yield result
    finally:
        for reference in running:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference)
        ray.shutdown()
        for job in running.values():
            shutil.rmtree(f"{job.output}/{job.uid}.part", ignore_errors=True)


def _start_ray(address: str | None, cpus: int):
    try:
        import ray
    except ImportError as error:
        raise UserError(f"engine=ray needs ray ({error})", hint='pip install "openlrm-mindspore[ray]"') from error
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        # "local" rather than None, which would join a cluster that happens to run.
        own = {"address": "local", "num_cpus": cpus, "include_dashboard": False} if address is None else {}
        ray.init(**({"address": address} | own), log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray cluster ({error})", address, "start one with: ray start --head") from error
    if in_main:
        # Ray's own ends the process without a word to the runner.
        signal.signal(signal.SIGTERM, handler)
    return ray
