"""`train.FAMILY`: data of a family -> a trained model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from openlrm.runners.base import Runner
from openlrm.runners.dry_run import print_config, print_facts
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from openlrm.families.family import Family
    from openlrm.parallel import World
    from openlrm.training.task import Task

logger = get_logger(__name__)


class Train(Runner):
    """Set up a family's task and the loop; train."""

    family: ClassVar[Family]
    summary = (
        "Writes OUTPUT_PATH/NAME/TIME with cfg.yaml, manifest.json, log_0.txt, metrics.jsonl, report.html, "
        "ckpt/openlrm-e<epoch>.ckpt (for infer.lrm and eval.py) and ckpt/train_resume.ckpt. Ctrl-C and SIGTERM save "
        "and stop."
    )

    @classmethod
    def of(cls, family: Family) -> type[Train]:
        """The runner of one family."""
        values = {
            "family": family,
            "Config": family.TrainConfig,
            "summary": f"Train a model: {family.summary}. {cls.summary}",
            "examples": family.examples,
        }
        return type(f"Train{family.name}", (cls,), values)

    def run(self) -> int:
        """Train to the end or to a signal; its exit code."""
        cfg = self.config
        cfg.saver.name = cfg.saver.name or self.family.name
        level = "debug" if cfg.report.debug else cfg.report.logger
        setup_logging(level)
        from omegaconf import OmegaConf

        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world
        from openlrm.training.facts import estimate_step, run_facts, time_fact
        from openlrm.training.precision import check_precision
        from openlrm.training.resume import resumed_folder
        from openlrm.training.trainer import Trainer, total_steps
        from openlrm.training.update import Update
        from openlrm.utils.run_files import LOG

        if not cfg.dry_run and cfg.saver.resume is None:
            check_output(Path(cfg.saver.output_path) / cfg.saver.name / "TIME")
        device = setup_device(cfg.device_target, cfg.mode, cfg.device_id)
        world = setup_world(cfg.use_parallel)
        folder = resumed_folder(cfg, world)
        resumed = folder is not None
        task = self.family.task(cfg, world, resumed)
        check_precision(cfg.train.precision, task.half_parts)
        total = total_steps(cfg.train, task.per_epoch)
        update = Update(task, cfg.train, total, world, sharded=cfg.parallel_mode == "optim")
        memory = estimate_step(task, cfg, world)
        facts = run_facts(task, update, cfg, world, device, memory)
        if cfg.dry_run:
            print_config(cfg)
            print_facts(facts)
            print_facts([time_fact(task, update, cfg, memory)])
            return 0
        if not resumed:
            folder = self._new_folder(task, world, device)
        setup_logging(level, folder / LOG if world.leads else None)
        logger.info("run folder %s", folder)
        logger.info("config:\n%s", OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(cfg))))
        for fact in facts:
            logger.info("%s", fact)
        logger.info("hours are told after the first steps")
        trainer = Trainer(task, update, folder, cfg, world)
        if resumed:
            trainer.resume()
        return trainer.run()

    def _new_folder(self, task: Task, world: World, device: str) -> Path:
        from openlrm.training.run_folder import build_manifest, new_run_folder, write_run_files

        cfg, folder = self.config, None
        if world.leads:
            folder = new_run_folder(cfg.saver.output_path, cfg.saver.name)
            manifest = build_manifest(cfg, task.objects, task.roots, device) | {"workers": world.size}
            write_run_files(folder, cfg, task.config_dict, task.objects, manifest)
        return Path(world.texts(str(folder))[0])
