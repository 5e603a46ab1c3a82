"""The rendering of one object: a process of its own, with a time limit, ended with all it has started."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openlrm.datasets.inspection import inspect_object

DONE, FLAGGED, FAILED = "done", "flagged", "failed"


@dataclass(frozen=True)
class Job:
    """What is needed to render an object anywhere.

    Attributes:
        uid: name of its folder.
        path: 3D file.
        output: folder of rendered objects.
        command: program and arguments up to those of the object.
        threads: processor threads it may use.
        time_limit: seconds after which it is ended.
    """

    uid: str
    path: str
    output: str
    command: tuple[str, ...]
    threads: int
    time_limit: float


@dataclass
class Result:
    """What became of an object.

    Attributes:
        uid: its name.
        state: `done`; `flagged`, rendered but `check.data` finds something wrong with it; or `failed`.
        reason: what is wrong; empty when nothing is.
        seconds: time it took.
        sha256: of the 3D file; empty if it cannot be read.
        host: machine it was rendered on.
        stats: what the inspection measured, see `inspect`.
    """

    uid: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    sha256: str = ""
    host: str = ""
    stats: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a line of the log."""
        return asdict(self)


def is_complete(output: str | Path, uid: str) -> bool:
    """Whether an object has been rendered: the script renames its folder when nothing is missing."""
    return Path(output, uid, "render.json").is_file()


class Processes:
    """The processes of several threads, which can be ended together."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._ended = False

    @contextlib.contextmanager
    def start(self, command: list[str]):
        """Start a process group for the length of a `with` block, which ends all that is left of it.

        Yields:
            The process; its standard error is a pipe.

        Raises:
            OSError: it cannot be started.
            InterruptedError: `end_all` has been called.
        """
        with self._lock:
            if self._ended:
                raise InterruptedError("rendering has been ended")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            _kill(process)
            process.wait()
            process.stderr.close()
            with self._lock:
                self._running.discard(process)

    def end_all(self) -> None:
        """End every process; no further one starts."""
        with self._lock:
            self._ended = True
            for process in self._running:
                _kill(process)


def render_one(job: Job, processes: Processes | None = None) -> Result:
    """Render an object and inspect it as `check.data` would.

    Args:
        job: what to render.
        processes: where to register the process.

    Returns:
        The result; everything that goes wrong with the object is in it.
    """
    processes = processes or Processes()
    start = time.monotonic()
    state, reason, stats = FAILED, "", {}
    try:
        reason = _run(job, processes)
        if not reason:
            state, reason, stats = inspect(job.output, job.uid)
    except (OSError, subprocess.SubprocessError) as error:
        reason = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(f"{job.output}/{job.uid}.part", ignore_errors=True)
    seconds = round(time.monotonic() - start, 2)
    return Result(job.uid, state, reason, seconds, file_hash(job.path), socket.gethostname(), stats)


def inspect(output: str, uid: str) -> tuple[str, str, dict[str, Any]]:
    """Look at a rendered object.

    Args:
        output: folder of objects.
        uid: the object.

    Returns:
        State, reason, and the least and greatest `distance` of its cameras with the mean `coverage` (share of the
        picture) and `luminance` of its views.
    """
    report = inspect_object(output, uid)
    reason = "; ".join(f"{problem.kind}: {problem.text}" for problem in report.problems if not problem.harmless)
    stats: dict[str, Any] = {}
    if report.distances:
        stats["distance"] = [round(min(report.distances), 4), round(max(report.distances), 4)]
    for name in ("coverage", "luminance"):
        if values := getattr(report, name):
            stats[name] = round(sum(values) / len(values), 4)
    return (DONE if report.usable else FLAGGED), reason, stats


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, "" if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _run(job: Job, processes: Processes) -> str:
    """Let Blender work; returns why it failed, "" if it did not."""
    own = ["--object_path", job.path, "--output_dir", job.output, "--uid", job.uid]
    command = [*job.command, *own, "--threads", str(job.threads), "--parent", str(os.getpid())]
    with processes.start(command) as process:
        try:
            _, said = process.communicate(timeout=job.time_limit)
        except subprocess.TimeoutExpired:
            return f"took longer than {job.time_limit:g} s"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1].removeprefix("error: ") if lines else "it said nothing"
    if process.returncode < 0:
        return f"Blender was killed by {_signal_name(-process.returncode)}"
    if process.returncode:
        return last if process.returncode == 2 else f"exit code {process.returncode}: {last}"
    return "" if is_complete(job.output, job.uid) else f"nothing was written: {last}"


def _kill(process: subprocess.Popen) -> None:
    # Not once it has been waited for: its number may be another process's then.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
