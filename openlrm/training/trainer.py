"""The training loop. It knows no model family: it gets a task, and steps, reports and saves."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor
from tqdm import tqdm

from openlrm.checkpoint.strict import parameter_arrays
from openlrm.errors import UserError
from openlrm.parallel import ALONE, World
from openlrm.training.checkpoints import Checkpoints, Position, checksum
from openlrm.training.config import RunConfig, TrainConfig
from openlrm.training.estimate import duration, peak_memory
from openlrm.training.record import RunRecord
from openlrm.training.run_folder import RunLock
from openlrm.training.stop import StopRequest
from openlrm.training.task import NOTHING, Task
from openlrm.training.timing import Timer
from openlrm.training.update import StepReport, Update
from openlrm.training.watch import verdict
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# Steps after which the speed is told: the first ones compile and fill caches.
_SPEED_AFTER = 5


def total_steps(config: TrainConfig, per_epoch: int) -> int:
    """Steps of a run of `per_epoch` batches an epoch."""
    return config.train_steps or max(1, config.epochs * per_epoch // config.gradient_accumulation_steps)


class Trainer:
    """Steps, reports, checkpoints.

    Args:
        task: what is trained.
        update: does a step.
        folder: of the run.
        config: the loop's options.
        world: the workers. All step; the leading one alone validates, reports and writes while the others wait.
    """

    def __init__(self, task: Task, update: Update, folder: Path, config: RunConfig, world: World = ALONE):
        self.task, self.update, self.folder, self.config, self.world = task, update, folder, config, world
        self.total = update.total
        self.lock = RunLock(folder) if world.leads else None
        self.record = RunRecord(folder, writes=world.leads)
        self.checkpoints = Checkpoints(folder, config.saver.ckpt_max_keep)
        self.position = Position()
        self.stop = StopRequest(world)
        self.bad_steps = self.bad_in_a_row = 0
        self.earlier_pixel: float | None = None
        self.timer = Timer()

    def resume(self) -> None:
        """Go on from the folder's newest state.

        Raises:
            UserError: there is none, or it is another model's.
        """
        # Reading puts away what is damaged: one after another.
        if not self.world.leads:
            self.world.barrier()
        tensors, self.position = self.checkpoints.load_resume()
        if self.world.leads:
            self.world.barrier()
        parameters = dict(self.task.model.parameters_and_names())
        try:
            for name, parameter in parameters.items():
                parameter.set_data(_tensor(tensors[name], parameter.shape))
            self.update.load_state(tensors)
        except (KeyError, ValueError) as error:
            raise UserError(f"the state belongs to another model or other options ({error})", self.folder) from error
        logger.info("going on at step %d (epoch %d, batch %d)", *dataclasses.astuple(self.position))

    def run(self) -> int:
        """Train to the end, or to a signal.

        Returns:
            0 at the end and after SIGTERM, 130 after SIGINT; the state is saved.

        Raises:
            UserError: too many bad steps in a row, validation fell too far below the starting model, no more data, or
                no space for a checkpoint.
        """
        self._check_same_weights()
        with self.stop.listening(), self.record:
            if self.position.step == 0 and self.config.val.stop_drop > 0:
                self._validate()
            with contextlib.closing(self._stream()) as stream:
                self._loop(stream)
        # msrun kills the others when one ends with a signal's code.
        self.world.barrier()
        if self.stop.signal is not None:
            how = f"--config {self.folder}/cfg.yaml --resume {self.folder}"
            logger.warning("stopped at step %d by signal %d; go on with %s", self.position.step, self.stop.signal, how)
            # Whatever sends SIGTERM takes another code for a failure; a chain of commands ends with Control-C.
            return 0 if self.stop.signal == signal.SIGTERM else 128 + self.stop.signal
        logger.info("done: %d steps, %s", self.total, self.folder)
        return 0

    def _check_same_weights(self) -> None:
        """All workers have to start from the same numbers: from then on they make the same changes."""
        if self.world.size > 1 and len(set(self.world.texts(str(checksum(parameter_arrays(self.task.model)))))) > 1:
            raise UserError("the workers begin with different weights", hint="give all of them the same files and seed")

    def _stream(self) -> Iterator[tuple[int, int, Any]]:
        """Batches from the position on, as far as the run goes."""
        accumulated = self.config.train.gradient_accumulation_steps
        epochs = -(-self.total * accumulated // self.task.per_epoch) + 1
        return self.task.batches(self.position.epoch, self.position.batch, epochs)

    def _loop(self, stream: Iterator[tuple[int, int, Any]]) -> None:
        report, saved = self.config.report, self.position
        accumulated = self.config.train.gradient_accumulation_steps
        batches = []
        started, first = time.monotonic(), self.position.step
        form = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_inv_fmt}{postfix}]"
        shown = {"total": self.total, "initial": first, "desc": "train", "unit": "step", "bar_format": form}
        with tqdm(**shown, disable=not self.world.leads) as bar:
            while self.position.step < self.total and not self.stop.agreed():
                with self.timer("data"):
                    while len(batches) < accumulated:
                        epoch, index, batch = self._next(stream, saved)
                        batches.append(batch)
                with self.timer("step"):
                    done = self.update(batches, self.position.step)
                step = self.position.step
                after = Position(step + 1, *divmod(epoch * self.task.per_epoch + index + 1, self.task.per_epoch))
                self._check(done, batches, step, after)
                self.position = after
                bar.set_postfix(loss=f"{done.parts['loss']:.4f}", lr=f"{done.rate:.2e}", refresh=False)
                bar.update()
                if step + 1 == first + _SPEED_AFTER:
                    self._tell_speed((time.monotonic() - started) / _SPEED_AFTER)
                if (step + 1) % report.log_interval == 0 or step == first:
                    self.record.step(step + 1, done)
                    if report.profile:
                        logger.info("seconds: %s", self.timer)
                self._look(done, batches[-1], step + 1)
                batches = []
                if self._validation_due():
                    with self.timer("validation"):
                        self._validate()
                if self._save_due(saved):
                    self._save()
                    saved = self.position
        if saved != self.position:
            self._save()

    def _next(self, stream: Iterator, saved: Position) -> tuple[int, int, Any]:
        """Take a batch; when there is none to be had, what was trained since the last checkpoint is saved first."""
        try:
            return next(stream)
        except Exception:
            # Several workers save together, and the others do not know.
            if self.position != saved and self.world.size == 1:
                self._save()
            raise

    def _check(self, done: StepReport, batches: list, step: int, after: Position) -> None:
        """Count a step whose numbers are not finite; too many in a row end the run, the last good state saved."""
        if done.applied:
            self.bad_in_a_row = 0
            return
        if done.overflow:
            logger.info("step %d: overflow, loss scale now %g", step, self.update.scaler.scale)
            return
        self.bad_steps, self.bad_in_a_row = self.bad_steps + 1, self.bad_in_a_row + 1
        own = (self.task.first_non_finite(batch, step, part) for part, batch in enumerate(batches))
        places = self.world.texts(next(filter(_found, own), NOTHING))
        where = next(filter(_found, places), NOTHING)
        logger.warning("step %d skipped (%d so far): NaN or infinity, first in: %s", step, self.bad_steps, where)
        if self.bad_in_a_row >= (1 if self.config.report.debug else self.config.train.max_bad_steps):
            self.position = after
            self._save()
            what = f"{self.bad_in_a_row} steps in a row with NaN or infinity, first in: {where}"
            hint = "lower start_learning_rate or look at that batch; the last good state is kept for resume"
            raise UserError(what, self.folder, hint)

    def _tell_speed(self, seconds: float) -> None:
        left = (self.total - self.position.step) * seconds
        peak = peak_memory()
        logger.info("%.2f s a step: about %s to go; peak memory so far %.1f GiB", seconds, duration(left), peak)

    def _look(self, done: StepReport, batch: Any, step: int) -> None:
        """Picture grid and collapse watch, when they are due."""
        if not self.world.leads:
            return
        report = self.config.report
        if report.image_interval and step % report.image_interval == 0:
            pictures = self.task.pictures(batch, done.preview)
            if pictures is not None:
                self.record.regions(step, *pictures)
        if not report.watch_interval or step % report.watch_interval:
            return
        with self.timer("watch"):
            look = self.task.watch(batch, step)
        if look is None:
            return
        state = verdict(look, self.earlier_pixel)
        self.earlier_pixel = look.pixel
        self.record.look(step, look, state)

    def _validation_due(self) -> bool:
        every = self.config.val.val_interval
        at_end = self.position.step == self.total
        return self.task.validates and every > 0 and (self.position.step % every == 0 or at_end)

    def _validate(self) -> None:
        """Measure; every worker learns when that ends the run."""
        what = self._measure() if self.task.validates and self.world.leads else ""
        if what := self.world.texts(what)[0]:
            self._save()
            raise UserError(what, self.folder, "lower start_learning_rate; earlier checkpoints are in ckpt/")

    def _measure(self) -> str:
        """Validate and report; say what is wrong, if it ends the run."""
        with self.averaged():
            result = self.task.validate()
        self.record.validation(self.position.step, result)
        drop = self.config.val.stop_drop
        if drop == 0:
            return ""
        psnr = result.scalars["psnr"]
        start = self.record.starting_psnr(result.measured)
        if start is None:
            logger.warning("stop_drop has no say: these objects were not held out and measured before the first step")
        elif psnr < start - drop:
            return f"validation PSNR {psnr:.2f} dB fell from the starting model's {start:.2f} dB"
        return ""

    def _save_due(self, saved: Position) -> bool:
        saver, position = self.config.saver, self.position
        if saver.ckpt_save_steps and position.step % saver.ckpt_save_steps == 0:
            return True
        return position.epoch // saver.ckpt_save_interval > saved.epoch // saver.ckpt_save_interval

    def _save(self) -> None:
        """Model and state, by one worker; the others go on when they are written."""
        with self.timer("checkpoint"):
            # A sharded state is put together by all workers.
            state = self.update.state() if self.world.leads or self.update.sharded else {}
            if self.world.leads:
                self._write(state)
            self.world.barrier()

    def _write(self, state: dict[str, np.ndarray]) -> None:
        """A model inside an epoch goes by the number of that epoch, as it will at its end."""
        epoch = self.position.epoch + (self.position.batch > 0)
        with self.averaged():
            path = self.checkpoints.save_model(parameter_arrays(self.task.model), epoch)
        self.checkpoints.save_resume(parameter_arrays(self.task.model) | state, self.position)
        logger.debug("wrote %s", path)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its moving average in place of its weights, where one is kept."""
        if self.update.average is None:
            yield
            return
        with self.update.average.applied():
            yield


def _found(place: str) -> bool:
    return place != NOTHING


def _tensor(array: np.ndarray, shape: tuple) -> Tensor:
    if array.shape != tuple(shape):
        raise ValueError(f"shape {array.shape} instead of {tuple(shape)}")
    return Tensor(np.array(array))
