"""Jobs of two workers on a CPU."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def msrun():
    """Start `msrun ... python ARGUMENTS` with two workers; their output goes into `folder`."""
    program = Path(sys.executable).parent / "msrun"
    if not (program.is_file() or shutil.which("msrun")):
        pytest.skip("MindSpore came without msrun")
    started = []

    def start(folder: Path, *arguments: str) -> subprocess.Popen:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
        options = ["--worker_num=2", "--local_worker_num=2", f"--master_port={port}", f"--log_dir={folder}"]
        command = [str(program), *options, "--join=True", "--tail_worker_log=0", "python", *map(str, arguments)]
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPO)}
        with open(folder / "msrun.log", "w") as output:
            process = subprocess.Popen(
                command, cwd=REPO, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()


def words(folder: Path) -> str:
    """What a job said, for the message of a failed test."""
    return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in folder.glob("*.log"))


@pytest.fixture(scope="session")
def said():
    """See `words`."""
    return words
