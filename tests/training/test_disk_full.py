"""A full disk: the run ends with one line, the earlier checkpoint stays whole, and the run goes on from it."""

import logging
import os
import subprocess

import numpy as np
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.errors import UserError
from openlrm.training.config import OptimConfig, ReportConfig, RunConfig, SaverConfig, TrainConfig, ValidationConfig
from openlrm.training.trainer import Trainer
from openlrm.training.update import Update
from openlrm.utils.logging import setup_logging

STEPS = 8


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk; tests/faults limits the size of files instead")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk) -> None:
    with (disk / "others").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1024))


def trainer(toy, folder, on_batch=lambda number: None) -> Trainer:
    config = RunConfig(
        train=TrainConfig(optim=OptimConfig(start_learning_rate=0.05)),
        saver=SaverConfig(ckpt_save_steps=2),
        val=ValidationConfig(val_interval=0),
        report=ReportConfig(log_interval=1, image_interval=0, watch_interval=0),
    )

    task = toy.Task(toy.Model(), lambda number: float(number % 3), on_batch)
    return Trainer(task, Update(task, config.train, STEPS), folder, config)


def weight(run: Trainer) -> np.ndarray:
    return run.task.model.weight.asnumpy().copy()


def test_a_full_disk_loses_nothing_that_was_saved(toy, disk, tmp_path, capsys):
    straight = trainer(toy, tmp_path / "straight")
    assert straight.run() == 0

    folder = disk / "run"
    full = trainer(toy, folder, lambda number: fill(disk) if number == 5 else None)
    setup_logging("info", folder / "log_0.txt")
    capsys.readouterr()
    try:
        with pytest.raises(UserError, match=r"No space left on device\): .*\.ckpt\. make room"):
            full.run()
    finally:
        setup_logging("error")
        logging.getLogger("openlrm").propagate = True
    assert "Traceback" not in capsys.readouterr().err
    assert full.position.step == 6
    assert not list(folder.rglob(".tmp-*"))
    for name in ("openlrm-e1.ckpt", "train_resume.ckpt", "train_resume.prev.ckpt"):
        assert np.isfinite(read_tensors(folder / "ckpt" / name)["weight"]).all()

    (disk / "others").unlink()
    again = trainer(toy, folder)
    again.resume()
    assert again.position.step == 4
    assert again.run() == 0
    np.testing.assert_array_equal(weight(again), weight(straight))


def test_a_full_disk_silences_the_log_with_one_line(disk, capfd):
    setup_logging("info", disk / "log.txt")
    try:
        fill(disk)
        for number in range(2000):
            logging.getLogger("openlrm.x").info("a line that needs room, number %d", number)
    finally:
        setup_logging("error")
        logging.getLogger("openlrm").propagate = True
    err = capfd.readouterr().err
    assert err.count("warning: cannot write the log (No space left on device)") == 1
    assert "Traceback" not in err
    assert err.count("a line that needs room") == 2000
