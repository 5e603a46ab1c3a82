"""One arm of a comparison: a fresh model, a loss, a seed; trained by the loop, measured, its adapter written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindspore import nn

from openlrm.checkpoint.adapter import load_adapter, save_adapter, weight_hash
from openlrm.config import save_config
from openlrm.diagnosis.objects import Subject
from openlrm.errors import UserError
from openlrm.families.lrm.options import LossConfig
from openlrm.families.reconstructor import Reconstructor
from openlrm.finetuning.config import FinetuneOptions
from openlrm.finetuning.measure import Measure, Measured
from openlrm.finetuning.task import FinetuneTask
from openlrm.nn.transformer.lora import (
    adapters_of,
    attach_new,
    attention_outputs,
    check_rank,
    count_adapter,
    detach,
)
from openlrm.training.checkpoints import RESUME
from openlrm.training.config import (
    OptimConfig,
    ReportConfig,
    RunConfig,
    SaverConfig,
    SchedulerConfig,
    TrainConfig,
    ValidationConfig,
)
from openlrm.training.image_loss import check_frequency_loss
from openlrm.training.trainer import Trainer
from openlrm.training.update import Update
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path, ensure_dir
from openlrm.utils.run_files import CONFIG

logger = get_logger(__name__)

DONE = "arm.json"


@dataclass(frozen=True)
class ArmOptions:
    """What sets one arm apart.

    Attributes:
        name: of its folder.
        loss: "std" or "freq".
        steps: of the run.
        rate: learning rate, constant.
        weight_decay: of matrices.
        clip: limit of the gradient's norm; None for no limit.
        seed: of the adapter, objects, views and samples.
        rank: of adapters; None to train all but the encoder.
        alpha: strength times rank; twice the rank without it.
    """

    name: str
    loss: str
    steps: int
    rate: float
    weight_decay: float
    clip: float | None
    seed: int
    rank: int | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class Arm:
    """Outcome of an arm.

    Attributes:
        facts: what `arm.json` holds: figures by object, history, counts, and why it ended early, if it did.
        measured: the model at the end, None where it was read from the file.
        signal: number of the signal that interrupted it, None when it came to its end.
    """

    facts: dict[str, Any]
    measured: Measured | None = None
    signal: int | None = None


class ArmRunner:
    """Runs arms over the same objects.

    Args:
        load: makes a fresh reconstructor.
        subjects: tuned on.
        measure: of the objects measured.
        config: shared options.
        base_name: what the adapter's file calls the base model.
    """

    def __init__(
        self,
        load: Callable[[], Reconstructor],
        subjects: Sequence[Subject],
        measure: Measure,
        config: FinetuneOptions,
        base_name: str,
    ):
        self.load, self.subjects, self.measure = load, subjects, measure
        self.config, self.base_name = config, base_name

    def check(self, arms: Sequence[ArmOptions], model: nn.Cell) -> None:
        """Refuse what an arm could not do, before the first begins.

        Raises:
            UserError: a cutoff that does not cut, or a rank that does not fit the model.
        """
        width = max(attention.dim for attention in attention_outputs(model).values())
        for options in arms:
            check_frequency_loss(self._loss(options.loss), self.config.render_size, self.config.render_size)
            if options.rank is not None:
                check_rank(options.rank, width)

    def start(self, options: ArmOptions, folder: Path | None) -> tuple[FinetuneTask, Update, RunConfig]:
        """A fresh model with its task and optimiser; nothing is written yet."""
        reconstructor = self.load()
        if options.rank is not None:
            attach_new(reconstructor.model, options.rank, options.alpha, options.seed)

        def keep_best(found: Measured) -> None:
            if folder is not None and options.rank is not None:
                save_adapter(reconstructor.model, folder / "adapter_best", self.base_name)
                _write(folder / "best.json", found.mean)

        loss = self._loss(options.loss)
        task = FinetuneTask(reconstructor, self.subjects, self.config, loss, self.measure, options.seed, keep_best)
        run = self._run_config(options)
        return task, Update(task, run.train, options.steps), run

    def __call__(self, options: ArmOptions, folder: Path) -> Arm:
        """Train, go on where an earlier start was interrupted, or read what is there.

        Raises:
            UserError: what the loop refuses; a fall below the base model only ends the arm, and is told in `facts`.
        """
        if (folder / DONE).is_file():
            logger.info("%s is there already", folder)
            return Arm(json.loads((folder / DONE).read_text(encoding="utf-8")))
        task, update, run = self.start(options, folder)
        model = task.reconstructor.model
        before = weight_hash(model)
        save_config(self.config, ensure_dir(folder) / CONFIG)
        trainer = Trainer(task, update, folder, run)
        if (folder / "ckpt" / RESUME).is_file():
            trainer.resume()
            if (folder / "best.json").is_file():
                task.best = json.loads((folder / "best.json").read_text(encoding="utf-8"))["psnr"]
        ended = None
        try:
            trainer.run()
        except UserError as error:
            if "fell from the starting model" not in error.what:
                raise
            ended = error.what
            logger.warning("%s: ended at step %d: %s; the best adapter is kept", folder, trainer.position.step, ended)
        if trainer.stop.signal is not None:
            return Arm({}, None, trainer.stop.signal)
        if ended is not None and options.rank is not None:
            detach(model)
            load_adapter(model, folder / "adapter_best")
        found = self.measure(task.reconstructor)
        facts = {
            "mean": found.mean,
            "objects": found.objects,
            "history": _history(folder),
            "trained_numbers": sum(parameter.size for parameter in task.parameters),
            "ended_early": ended,
            "steps": trainer.position.step,
        }
        if options.rank is not None:
            facts["base_unchanged"] = weight_hash(model) == before
            facts["counts"] = _counts(model)
            save_adapter(model, folder / "adapter", self.base_name)
        else:
            model.save_pretrained(str(folder / "model"))
        _write(folder / DONE, facts)
        return Arm(facts, found)

    def _loss(self, kind: str) -> LossConfig:
        cfg = self.config
        frequency = {key: getattr(cfg, key) for key in ("freq_weight", "freq_cutoff", "cutoff_unit", "weight_on")}
        weights = {"pixel_weight": float(kind == "std"), "frequency_weight": float(kind == "freq")}
        return LossConfig(perceptual_weight=0, tv_weight=0, normalise=cfg.normalise, **weights, **frequency)

    def _run_config(self, options: ArmOptions) -> RunConfig:
        optim = OptimConfig(
            start_learning_rate=options.rate,
            betas=[0.9, 0.999],
            weight_decay=options.weight_decay,
            clip_grad=options.clip is not None,
            max_grad_norm=options.clip or 0.0,
        )
        every = self.config.val_interval or max(20, options.steps // 25)
        schedule = SchedulerConfig(scheduler="constant", warmup_steps=0)
        return RunConfig(
            train=TrainConfig(optim=optim, scheduler=schedule, train_steps=options.steps),
            val=ValidationConfig(val_interval=every, stop_drop=self.config.stop_drop),
            saver=SaverConfig(ckpt_save_interval=options.steps + 1, ckpt_save_steps=every, ckpt_max_keep=2),
            report=ReportConfig(log_interval=max(1, options.steps // 50), image_interval=0, watch_interval=0),
            seed=options.seed,
        )


def _counts(model: Any) -> dict[str, float]:
    """Numbers of the adapters, and what share of the model they are."""
    adapters = {id(p) for adapter in adapters_of(model).values() for p in adapter.get_parameters()}
    sizes = {name: p.size for name, p in model.parameters_and_names() if id(p) not in adapters}
    count = count_adapter(model)
    transformer = sum(size for name, size in sizes.items() if name.startswith("transformer."))
    tuned = sum(size for name, size in sizes.items() if not name.startswith("encoder."))
    return {
        "adapter": count,
        "share_of_transformer": count / transformer,
        "share_of_all_but_encoder": count / tuned,
        "share_of_all": count / sum(sizes.values()),
    }


def _history(folder: Path) -> list[dict[str, float]]:
    """Validations of the run, the last of each step."""
    from openlrm.reports.results import read_result

    run = read_result(folder)
    found: dict[int, dict[str, float]] = {}
    for name in run.names("validation"):
        for step, value in zip(*run.series("validation", name), strict=True):
            found.setdefault(step, {"step": step})[name] = value
    return [found[step] for step in sorted(found)]


def _write(path: Path, value: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
