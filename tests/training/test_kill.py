"""SIGKILL at fifty random moments, most of them while a checkpoint is written: none is ever lost or unreadable."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from openlrm.checkpoint import locate_model, read_tensors
from openlrm.training.checkpoints import PREVIOUS, RESUME, Checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

REPO = Path(__file__).resolve().parents[2]
KILLS = 50


class Saver:
    """The process of kill_saver.py, and what it has told."""

    def __init__(self, run: Path):
        command = [sys.executable, str(Path(__file__).with_name("kill_saver.py")), str(run)]
        environment = os.environ | {"PYTHONPATH": str(REPO)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        self.told = {"begin": 0, "model": 0, "end": 0}
        self.seconds: list[float] = []
        self.read_until("end")

    def read_until(self, wanted: str) -> int:
        """Read on to the next line of a kind; its number."""
        for line in self.process.stdout:
            word, *number = line.split()
            if word in self.told:
                self.told[word] = int(number[0])
                now = time.monotonic()
                if word == "end":
                    self.seconds.append(now - self.begun)
                self.begun = now
            if word == wanted:
                return int(number[0]) if number else 0
        raise AssertionError(f"the saving process ended before {wanted!r}")

    def kill_one(self, saves: int, wait: float) -> bool:
        """Start a child, let it save, and kill it; whether it was saving.

        Args:
            saves: whole saves it is let do first.
            wait: time from the beginning of the next one to the kill, in durations of a save.
        """
        self.process.stdin.write("go\n")
        pid = self.read_until("pid")
        try:
            for _ in range(saves + 1):
                self.read_until("begin")
            time.sleep(wait * float(np.median(self.seconds[-20:])))
        finally:
            os.kill(pid, signal.SIGKILL)
        self.read_until("dead")
        return self.told["end"] < self.told["begin"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


@pytest.fixture
def saver(tmp_path, golden_dir):
    (tmp_path / "run").mkdir()
    shutil.copy(golden_dir / "config.json", tmp_path / "run")
    saver = Saver(tmp_path / "run")
    yield saver
    saver.stop()


def assert_whole(tensors: dict[str, np.ndarray], number: int) -> None:
    assert len(tensors) in (8, 24)
    for name, value in tensors.items():
        assert (value == number).all(), name


def test_no_checkpoint_is_lost_or_unreadable(saver, tmp_path):
    run = tmp_path / "run"
    random_moment = random.Random(5)
    while_saving = half_written = 0
    model = state = 1
    for kill in range(KILLS):
        # Every other kill within one save; the rest anywhere in three.
        while_saving += saver.kill_one(random_moment.randrange(3), random_moment.uniform(0, 3 if kill % 2 else 1))
        # Whole ones so far: told as complete, or found after an earlier kill that came before the telling.
        model, state = max(model, saver.told["model"]), max(state, saver.told["end"])
        begun = saver.told["begin"]

        half_written += any((run / "ckpt").glob(".tmp-*"))
        checkpoints = Checkpoints(run, keep=3)
        epochs = checkpoints.epochs()
        assert epochs[-1] in (model, begun)
        model = epochs[-1]
        for epoch in epochs:
            assert_whole(read_tensors(run / "ckpt" / f"openlrm-e{epoch}.ckpt"), epoch)
        # What inference and evaluation choose, beside whatever the kill left.
        assert locate_model(str(run)).weights.name == f"openlrm-e{model}.ckpt"

        tensors, position = checkpoints.load_resume()
        assert position.step in (state, begun)
        assert position.epoch == position.step
        state = position.step
        assert_whole(tensors, state)
        names = set(os.listdir(run / "ckpt"))
        models = {f"openlrm-e{epoch}.ckpt" for epoch in epochs}
        # Nothing damaged was put aside, nothing half-written is left.
        assert models < names <= models | {RESUME, PREVIOUS}
    print(f"{while_saving} of {KILLS} kills while saving, {half_written} left a half-written file")
    assert while_saving >= KILLS // 2
    assert half_written >= KILLS // 5
