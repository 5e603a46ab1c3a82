"""Faults that meet a training: each is made to happen, and nothing is lost."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.launch import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

REPO = Path(__file__).resolve().parents[2]
OPTIONS = [
    "train.lrm", "--config", "configs/train-sample-debug.yaml", "--device_target=CPU", "data.render_region_size=8",
    "data.render_image_low=12", "data.render_image_high=16", "train.batch_size=1", "model.rendering_samples_per_ray=8",
    "val.val_interval=0", "report.watch_interval=0", "report.image_interval=0", "saver.ckpt_save_steps=2",
]  # fmt: skip
STEPS = 24
PATIENCE = 900


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(REPO)


def the_run(output: Path) -> Path:
    (folder,) = (output / "debug").iterdir()
    return folder


def train(output: Path, *options: str, steps: int = STEPS) -> int:
    return main([*OPTIONS, f"saver.output_path={output}", f"train.train_steps={steps}", *options])


def start(output: Path, *options: str, **how) -> subprocess.Popen:
    """The same in a process of its own."""
    arguments = [*OPTIONS, f"saver.output_path={output}", f"train.train_steps={STEPS}", *options]
    command = [sys.executable, "-m", "openlrm.launch", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **how)


def wait_for(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"it did not happen: {process.communicate()[1].decode()[-3000:]}")


def steps(output: Path) -> int:
    """Steps that the run has told."""
    return sum(log.read_text().count(": loss ") for log in output.glob("debug/*/log_0.txt"))


def state(folder: Path) -> dict[str, np.ndarray]:
    return read_tensors(folder / "ckpt" / "train_resume.ckpt")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "ckpt").iterdir()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """All steps in one go."""
    os.chdir(REPO)
    output = tmp_path_factory.mktemp("straight")
    assert train(output) == 0
    assert int(state(the_run(output))["global_step"][0]) == STEPS
    return the_run(output)


def assert_same_state(a: Path, b: Path) -> None:
    one, other = state(a), state(b)
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], name)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core, no data workers")
def test_a_dead_worker_a_second_run_control_c_and_a_truncated_checkpoint(tmp_path, straight, capsys, data_workers):
    process = start(tmp_path, "num_parallel_workers=2")
    wait_for(process, lambda: steps(tmp_path) >= 3)

    # One of the processes that read data is killed, as the kernel does for memory.
    next(iter(data_workers(process.pid))).kill()
    told = steps(tmp_path)
    wait_for(process, lambda: steps(tmp_path) >= told + 4)
    folder = the_run(tmp_path)
    assert "a data worker died (SIGKILL); another one takes its place" in (folder / "log_0.txt").read_text()

    # A second run may not use the folder of one that is at work.
    process.send_signal(signal.SIGSTOP)
    before = content(folder)
    assert train(tmp_path, "--resume", str(folder)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"another run is at work in this folder (process {process.pid}" in line
    assert content(folder) == before
    process.send_signal(signal.SIGCONT)

    # Control-C: saved, and said how to go on.
    process.send_signal(signal.SIGINT)
    words = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 130, words[-2000:]
    assert f"--resume {folder}" in words
    reached = int(state(folder)["global_step"][0])
    assert 7 <= reached < STEPS

    # The newest checkpoint is cut short: the one before it is taken, and that is said.
    newest = folder / "ckpt" / "train_resume.ckpt"
    previous = int(read_tensors(folder / "ckpt" / "train_resume.prev.ckpt")["global_step"][0])
    os.truncate(newest, newest.stat().st_size // 2)
    assert previous < reached
    assert train(tmp_path, "--resume", str(folder)) == 0
    words = capsys.readouterr().err
    assert "damaged MindSpore checkpoint" in words and "the state before it is taken" in words
    assert f"going on at step {previous} " in words
    assert_same_state(folder, straight)


def test_a_file_that_may_not_grow_leaves_the_earlier_checkpoint(tmp_path, straight):
    assert train(tmp_path, steps=2) == 0
    folder = the_run(tmp_path)
    before = content(folder)
    limit = len(before["openlrm-e2.ckpt"]) // 2
    may_not_grow = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    process = start(tmp_path, "--resume", str(folder), preexec_fn=may_not_grow)
    words = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 2, words[-2000:]
    line = words.splitlines()[-1]
    assert "cannot write (File too large)" in line and "openlrm-e4.ckpt" in line
    assert "Traceback" not in words
    assert content(folder) == before
    assert train(tmp_path, "--resume", str(folder)) == 0
    assert_same_state(folder, straight)


def test_a_batch_of_nan_is_skipped_and_named(tmp_path, monkeypatch, capsys):
    from openlrm.training import objects

    whole = objects.make_loader

    def poisoned(*arguments, **more):
        for epoch, index, batch in whole(*arguments, **more):
            if epoch == 3:
                batch.images[..., 2, 2] = np.nan
            yield epoch, index, batch

    monkeypatch.setattr(objects, "make_loader", poisoned)
    assert train(tmp_path, steps=6) == 0
    words = capsys.readouterr().err
    assert "step 3 skipped (1 so far): NaN or infinity, first in: images" in words
    tensors = state(the_run(tmp_path))
    assert int(tensors["global_step"][0]) == 6
    assert all(np.isfinite(value).all() for value in tensors.values())


def test_data_that_ends_early_saves_what_was_trained(tmp_path, monkeypatch, capsys):
    """Workers that die again and again, made quick: the third death of one batch ends the data."""
    from openlrm.errors import UserError
    from openlrm.training import objects

    whole = objects.make_loader

    def ending(*arguments, **more):
        for epoch, index, batch in whole(*arguments, **more):
            if epoch == 3:
                raise UserError("3 data workers died one after the other")
            yield epoch, index, batch

    monkeypatch.setattr(objects, "make_loader", ending)
    assert train(tmp_path) == 2
    assert "3 data workers died" in capsys.readouterr().err.splitlines()[-1]
    folder = the_run(tmp_path)
    assert int(state(folder)["global_step"][0]) == 3
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 3
