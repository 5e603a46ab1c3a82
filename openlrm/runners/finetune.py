"""`finetune.*`: a trained model tuned on a few objects, with adapters or whole, and measured on others."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openlrm.errors import UserError
from openlrm.finetuning.config import CompareConfig, FinetuneOptions, FullConfig, LoRAConfig, RanksConfig
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import print_config, print_facts
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from openlrm.finetuning.arm import Arm, ArmOptions, ArmRunner
    from openlrm.finetuning.measure import Measured

logger = get_logger(__name__)

RESULTS = "results.json"
FREE = ("logger", "dry_run", "device_target", "mode", "output", "arms")
"""Options in which a second start may differ from the first."""


class _Finetune(Runner):
    """What the runners share: objects, baseline, folder."""

    name = ""
    config: FinetuneOptions

    def run(self) -> int:
        """Tune, measure, write; the same command goes on where it was interrupted."""
        cfg = self.config
        setup_logging(cfg.logger)
        self.folder = Path(cfg.output or f"outputs/{self.name}")
        if not cfg.dry_run:
            check_output(self.folder / RESULTS)
        from openlrm.finetuning.measure import Measure
        from openlrm.finetuning.session import check_same_options, perceptual, read_objects, runner_of
        from openlrm.ops import setup_device

        check_same_options(self.folder, cfg, FREE)
        device = setup_device(cfg.device_target, cfg.mode)
        train, val = read_objects(cfg)
        measure = Measure(val, cfg.num_train_views, cfg.render_size, perceptual(cfg.lpips_backbone))
        runner = runner_of(cfg, train, measure)
        base = runner.load()
        runner.check(self._arms(), base.model)
        if cfg.dry_run:
            return self._dry(runner, device)
        from openlrm.config import save_config
        from openlrm.utils.paths import ensure_dir
        from openlrm.utils.run_files import CONFIG

        save_config(cfg, ensure_dir(self.folder) / CONFIG)
        logger.info("%d objects tuned on, %d measured, device %s", len(train), len(val), device)
        start = time.monotonic()
        baseline = measure(base)
        logger.info("base model: %s", _told(baseline.mean))
        return self._compare(runner, baseline, start)

    def _arms(self) -> list[ArmOptions]:
        raise NotImplementedError

    def _compare(self, runner: ArmRunner, baseline: Measured, start: float) -> int:
        raise NotImplementedError

    def _dry(self, runner: ArmRunner, device: str) -> int:
        """Sizes, and the time of the run by two steps."""
        from openlrm.parallel import ALONE
        from openlrm.training.facts import run_facts, time_fact

        arms = self._arms()
        task, update, run = runner.start(arms[0], None)
        print_config(self.config)
        print_facts(run_facts(task, update, run, ALONE, device, None))
        print_facts([f"{len(arms)} runs like this one: {', '.join(arm.name for arm in arms)}"])
        print_facts([time_fact(task, update, run, None)])
        return 0

    def _run_arms(self, runner: ArmRunner) -> dict[str, Arm] | int:
        """Arms by name, or the exit code when a signal ended one."""
        found = {}
        for options in self._arms():
            logger.info("arm %s", options.name)
            arm = runner(options, self.folder / options.name)
            if arm.signal is not None:
                logger.warning("stopped by signal %d; the same command goes on", arm.signal)
                return 128 + arm.signal
            found[options.name] = arm
            logger.info("%s: %s", options.name, _told(arm.facts["mean"]))
        return found


class _TwoArms(_Finetune):
    """std against freq."""

    def _compare(self, runner: ArmRunner, baseline: Measured, start: float) -> int:
        from openlrm.finetuning.results import arm_results, write_pictures
        from openlrm.finetuning.session import convergence, reload, write_json

        arms = self._run_arms(runner)
        if isinstance(arms, int):
            return arms
        facts = {name: arm.facts for name, arm in arms.items()}
        results = {"config": dataclasses.asdict(self.config), "model": runner.base_name}
        results |= arm_results(baseline, facts)
        results["history"] = {name: fact["history"] for name, fact in facts.items()}
        shown = {"baseline": baseline.shown}
        for name, arm in arms.items():
            found = arm.measured or runner.measure(reload(runner, self.folder / name))
            shown[name] = found.shown
        write_pictures(self.folder, runner.measure, shown)
        write_json(self.folder / RESULTS, results | {"seconds": round(time.monotonic() - start, 1)})
        convergence(self.folder / "convergence.html", results)
        for name, fact in facts.items():
            worse = results[name]["degraded"]
            logger.info("%s: %d objects made worse%s", name, len(worse), f" ({', '.join(worse)})" if worse else "")
            if fact["ended_early"]:
                raise UserError(
                    f"{name} was ended: {fact['ended_early']}", self.folder, "its best adapter is kept; lower lr"
                )
        logger.info("wrote %s", self.folder / RESULTS)
        return 0


class FinetuneLoRA(_TwoArms):
    """Adapters alone train."""

    name = "finetune.lora"
    Config = LoRAConfig
    summary = (
        "Tune low-rank adapters on a few objects, once with plain MSE and once with low frequencies counted more, and "
        "measure both on others. Writes OUTPUT/results.json, convergence.html, vis_<uid>.png and lora_<arm>/adapter, "
        "which infer.lrm adapter=... takes. The weights of the model stay as they are."
    )
    examples = (
        "python -m openlrm.launch finetune.lora --config configs/finetune-lora-demo.yaml",
        "python -m openlrm.launch finetune.lora data_root=outputs/renders rank=4 steps=500 stop_drop=0.5 --dry_run",
    )

    def _arms(self) -> list[ArmOptions]:
        from openlrm.finetuning.arm import ArmOptions

        cfg = self.config
        shared = (cfg.steps, cfg.lr, cfg.weight_decay, None, cfg.seed, cfg.rank, cfg.lora_alpha)
        return [ArmOptions(f"lora_{arm}", arm, *shared) for arm in cfg.arms]


class FinetuneFull(_TwoArms):
    """Everything but the encoder trains."""

    name = "finetune.full"
    Config = FullConfig
    summary = (
        "Tune all weights but the image encoder's on a few objects, with both losses: the control of finetune.lora. "
        "Writes OUTPUT/results.json, convergence.html, vis_<uid>.png and full_<arm>/model, a release folder."
    )
    examples = ("python -m openlrm.launch finetune.full data_root=outputs/renders steps=200",)

    def _arms(self) -> list[ArmOptions]:
        from openlrm.finetuning.arm import ArmOptions

        cfg = self.config
        shared = (cfg.steps, cfg.lr, cfg.weight_decay, cfg.clip, cfg.seed)
        return [ArmOptions(f"full_{arm}", arm, *shared) for arm in cfg.arms]


class FinetuneRanks(_Finetune):
    """Ranks, losses and seeds."""

    name = "finetune.ranks"
    Config = RanksConfig
    summary = (
        "finetune.lora for every rank, loss and seed, each from a fresh model: means with their spread, freq against "
        "std seed by seed. Goes on cell by cell. Writes OUTPUT/results.json and ranks.html."
    )
    examples = ("python -m openlrm.launch finetune.ranks data_root=outputs/renders ranks=1,2,4,8 seeds=1,2,3",)

    def _arms(self) -> list[ArmOptions]:
        from openlrm.finetuning.arm import ArmOptions

        cfg = self.config
        return [
            ArmOptions(f"r{rank}_s{seed}_{arm}", arm, cfg.steps, cfg.lr, cfg.weight_decay, None, seed, rank)
            for rank in cfg.ranks
            for seed in cfg.seeds
            for arm in cfg.arms
        ]

    def _compare(self, runner: ArmRunner, baseline: Measured, start: float) -> int:
        from openlrm.finetuning.ranks import rank_page, rank_results
        from openlrm.finetuning.session import write_json

        arms = self._run_arms(runner)
        if isinstance(arms, int):
            return arms
        facts = {name: arm.facts for name, arm in arms.items()}
        results: dict[str, Any] = {"config": dataclasses.asdict(self.config), "model": runner.base_name}
        results |= rank_results(self.config, baseline, facts)
        write_json(self.folder / RESULTS, results | {"seconds": round(time.monotonic() - start, 1)})
        rank_page(self.folder / "ranks.html", results)
        logger.info("%s; wrote %s", results["best_rank"]["verdict"], self.folder / RESULTS)
        return 0


class FinetuneCompare(Runner):
    """Runs side by side."""

    Config = CompareConfig
    summary = "Sheets and a table of every measured object of finetune.full and finetune.lora, those made worse marked."
    examples = ("python -m openlrm.launch finetune.compare runs=outputs/finetune.full,outputs/finetune.lora",)

    def run(self) -> int:
        """Write the sheets and compare.html."""
        setup_logging(self.config.logger)
        from openlrm.finetuning.compare import compare_runs

        print(compare_runs([Path(run) for run in self.config.runs], Path(self.config.output)))
        return 0


def _told(mean: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in mean.items())
