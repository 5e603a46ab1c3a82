"""Scripts that start several workers, with a stand-in for msrun."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "pgrep", "setsid")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"one of {', '.join(TOOLS)} is missing")


@pytest.fixture
def start(tmp_path):
    """Start a script; its msrun is the given shell script."""

    def run(script, msrun, *arguments, **variables):
        stand_in = tmp_path / "msrun"
        stand_in.write_text(f"#!/bin/bash\n{msrun}")
        stand_in.chmod(0o755)
        path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            ["bash", REPO / "scripts" / script, *arguments],
            env=os.environ | {"PATH": path, "LOG_DIR": str(tmp_path / "logs")} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background of a shell ignores SIGINT, and its children would.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return run


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_workers_train_a_config(start, size):
    variables = {"DEVICES": "2", "MASTER_PORT": "9000"}
    process = start(f"train_{size}_multi.sh", 'pwd; printf "%s\\n" "$@"', "train.batch_size=4", **variables)
    folder, *words = process.communicate()[0].splitlines()
    assert process.returncode == 0
    assert Path(folder) == REPO
    program = words.index("python")
    given = {"--worker_num=2", "--local_worker_num=2", "--master_port=9000", "--join=True", "--node_rank=0"}
    assert given <= set(words[:program])
    config = f"configs/train-sample-{size}.yaml"
    command = ["-m", "openlrm.launch", "train.lrm", "--config", config, "--use_parallel", "true", "train.batch_size=4"]
    assert words[program + 1 :] == command
    assert (REPO / config).is_file()


def test_a_machine_among_several_starts_its_own_workers(start):
    variables = {"DEVICES": "16", "LOCAL_DEVICES": "8", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1"}
    process = start("workers.sh", 'printf "%s\\n" "$@"', "eval.lrm", **variables)
    words = set(process.communicate()[0].splitlines())
    given = {"--worker_num=16", "--local_worker_num=8", "--node_rank=1", "--master_addr=10.0.0.1"}
    assert given | {"--tail_worker_log=8", "eval.lrm"} <= words


# A worker that saves when it is told to stop, the scheduler, which has to outlive it, and the code msrun ends with.
JOB = """
MS_ROLE=MS_WORKER python -c '
import signal, time
def save(*_):
    print("saved", flush=True)
    raise SystemExit
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: time.sleep(0.1)
' &
worker=$!
MS_ROLE=MS_SCHED sleep 600 &
wait $worker
kill -0 $! && echo "scheduler there" && kill $!
exit 1
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_workers_alone(start, number):
    process = start("workers.sh", JOB, "train.lrm")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    words, errors = process.communicate()
    assert words == "saved\nscheduler there\n", errors
    assert process.returncode == 1
    assert "a training goes on with --resume" in errors


def test_errors_of_workers_are_shown(start, tmp_path):
    (tmp_path / "logs").mkdir()
    for rank in range(2):
        (tmp_path / "logs" / f"worker_{rank}.log").write_text("much\nerror: no data: /data. look there\nmore\n")
    process = start("workers.sh", "exit 1", "train.lrm")
    assert process.communicate()[1].splitlines()[0] == "error: no data: /data. look there"
    assert process.returncode == 1
