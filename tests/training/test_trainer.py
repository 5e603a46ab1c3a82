"""The loop: what it writes, what stops it."""

import json
import os
import signal

import numpy as np
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.errors import UserError
from openlrm.training.config import (
    OptimConfig,
    ReportConfig,
    RunConfig,
    SaverConfig,
    SchedulerConfig,
    TrainConfig,
    ValidationConfig,
)
from openlrm.training.trainer import Trainer
from openlrm.training.update import Update
from openlrm.training.validation import Validation


@pytest.fixture
def make(toy):
    return lambda *arguments, **options: make_trainer(toy, *arguments, **options)


def make_trainer(toy, folder, total=8, values=lambda n: float(n % 3), validator=None, on_batch=None, **options):
    config = RunConfig(
        train=TrainConfig(
            optim=OptimConfig(start_learning_rate=0.05),
            scheduler=SchedulerConfig(warmup_steps=0),
            gradient_accumulation_steps=options.pop("accumulate", 1),
            max_bad_steps=options.pop("max_bad_steps", 3),
            use_ema=options.pop("use_ema", False),
        ),
        saver=SaverConfig(**options.pop("saver", {})),
        val=ValidationConfig(**{"val_interval": 3} | options.pop("val", {})),
        report=ReportConfig(log_interval=1, image_interval=0, watch_interval=0),
    )

    task = toy.Task(toy.Model(), values, on_batch, validator)
    return Trainer(task, Update(task, config.train, total), folder, config)


def weight(trainer):
    return trainer.task.model.weight.asnumpy().copy()


def test_checkpoints_at_epochs_and_at_the_end(make, tmp_path):
    trainer = make(tmp_path, total=10)
    assert trainer.run() == 0
    assert trainer.checkpoints.epochs() == [1, 2, 3]  # the third epoch is cut short by the last step
    saved = read_tensors(tmp_path / "ckpt" / "openlrm-e3.ckpt")
    np.testing.assert_array_equal(saved["weight"], weight(trainer))


def test_checkpoints_inside_an_epoch(make, tmp_path, monkeypatch):
    saver = {"ckpt_save_steps": 3, "ckpt_save_interval": 100}
    saved = []
    trainer = make(tmp_path, saver=saver)
    monkeypatch.setattr(trainer.checkpoints, "save_resume", lambda _, position: saved.append(position.step))
    assert trainer.run() == 0
    assert saved == [3, 6, 8]
    assert trainer.checkpoints.epochs() == [1, 2]


@pytest.mark.parametrize(("accumulate", "number", "code"), [(1, signal.SIGTERM, 0), (3, signal.SIGINT, 130)])
def test_interrupted_and_resumed_is_straight(make, tmp_path, accumulate, number, code):
    straight = make(tmp_path / "a", accumulate=accumulate)
    straight.run()
    kill = lambda n: n == 3 * accumulate and os.kill(os.getpid(), number)  # noqa: E731
    first = make(tmp_path / "b", accumulate=accumulate, on_batch=kill)
    assert first.run() == code
    assert first.position.step == 4
    second = make(tmp_path / "b", accumulate=accumulate)
    second.resume()
    assert second.run() == 0
    np.testing.assert_array_equal(weight(second), weight(straight))


def test_checkpoint_holds_the_average_and_the_state_the_weights(make, tmp_path):
    trainer = make(tmp_path, use_ema=True)
    trainer.run()
    average = trainer.update.state()["ema.weight"]
    assert not np.array_equal(average, weight(trainer))
    np.testing.assert_array_equal(read_tensors(tmp_path / "ckpt" / "openlrm-e2.ckpt")["weight"], average)
    np.testing.assert_array_equal(read_tensors(tmp_path / "ckpt" / "train_resume.ckpt")["weight"], weight(trainer))


def test_bad_step_is_skipped_counted_and_named(make, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("openlrm.training.trainer.logger.warning", lambda words, *rest: told.append(words % rest))
    trainer = make(tmp_path, values=lambda n: np.nan if n in (2, 5) else 1.0)
    assert trainer.run() == 0
    assert trainer.bad_steps == 2
    assert np.isfinite(weight(trainer)).all()
    assert told[0] == "step 2 skipped (1 so far): NaN or infinity, first in: target"


def test_bad_steps_in_a_row_stop_with_the_last_good_state(make, tmp_path):
    good = make(tmp_path / "good", total=4)
    good.run()
    trainer = make(tmp_path / "bad", total=100, values=lambda n: float(n % 3) if n < 4 else np.nan)
    with pytest.raises(UserError, match="3 steps in a row with NaN or infinity, first in: target"):
        trainer.run()
    again = make(tmp_path / "bad", total=100)
    again.resume()
    assert again.position.step == 7
    assert np.isfinite(weight(again)).all()
    assert again.update.updates == 4


class FallingValidator:
    def __init__(self, kind="held-out", measured="1 object"):
        self.kind, self.measured, self.psnr = kind, measured, [20.0, 19.8, 18.0]

    def __call__(self, model):
        return Validation({"psnr": self.psnr.pop(0)}, np.zeros((4, 4, 3)), self.kind, self.measured)


def test_stops_when_it_gets_worse_than_the_start(make, tmp_path):
    trainer = make(tmp_path, total=50, validator=FallingValidator(), val={"stop_drop": 1.0})
    with pytest.raises(UserError, match=r"18.00 dB fell from the starting model's 20.00 dB"):
        trainer.run()
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["psnr"]) for r in records if "psnr" in r] == [(0, 20.0), (3, 19.8), (6, 18.0)]
    losses = {r["step"]: r["train"]["loss"] for r in records if "train" in r}
    assert list(losses) == [1, 2, 3, 4, 5, 6]
    assert len(set(losses.values())) > 1
    assert (tmp_path / "validation" / "0000006.png").is_file()


def test_stop_drop_does_not_read_figures_of_training_objects(make, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("openlrm.training.trainer.logger.warning", told.append)
    trainer = make(tmp_path, total=6, validator=FallingValidator("training"), val={"stop_drop": 1.0})
    assert trainer.run() == 0
    assert "stop_drop has no say" in told[0]


def test_stop_drop_does_not_compare_with_the_start_of_other_objects(make, tmp_path, monkeypatch):
    first = FallingValidator()
    make(tmp_path, total=3, validator=first, val={"stop_drop": 1.0}).run()
    second = FallingValidator(measured="another object")
    second.psnr = [5.0]
    trainer = make(tmp_path, total=6, validator=second, val={"stop_drop": 1.0})
    trainer.resume()
    told = []
    monkeypatch.setattr("openlrm.training.trainer.logger.warning", told.append)
    assert trainer.run() == 0
    assert "stop_drop has no say" in told[0]


def test_another_models_state_is_refused(make, tmp_path):
    make(tmp_path).run()
    trainer = make(tmp_path, use_ema=True)
    with pytest.raises(UserError, match="another model or other options"):
        trainer.resume()
