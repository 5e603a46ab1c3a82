"""`render.objaverse`: 3D files -> a set of rendered objects, on one machine or many."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import print_config, print_facts
from openlrm.runners.render.config import RenderObjaverseConfig
from openlrm.utils.logging import get_logger, setup_logging

if TYPE_CHECKING:
    from openlrm.factory.driver import Engine, Plan
    from openlrm.factory.sources import Source
    from openlrm.factory.work import Job

logger = get_logger(__name__)


class RenderObjaverse(Runner):
    """A pool of Blender processes over a list of objects."""

    Config = RenderObjaverseConfig
    summary = (
        "Render 3D files into the training layout with Blender, each in a process of its own. Objects that are there "
        "are skipped, so that the same command goes on after an interruption; what fails is tried once more and "
        "listed with its reason. Writes render_log.jsonl, meta.json (training), meta_val.json, manifest.jsonl and "
        "data_card.md. The exit code is 1 when no usable object is there in the end."
    )
    examples = (
        "python -m openlrm.launch render.objaverse --input /data/glbs --output /data/renders",
        "python -m openlrm.launch render.objaverse --objaverse uids.txt --output renders --shard 2/8 --workers 16",
        "python -m openlrm.launch render.objaverse --output renders --finish_only --pack packed",
        "python -m openlrm.launch render.objaverse --input glbs.txt --output renders --engine ray --ray_address auto",
    )

    def run(self) -> int:
        """Render and finish; the exit code is 1 when nothing usable is there."""
        from openlrm.factory.data_card import write_data_card
        from openlrm.factory.outcome import take_stock, write_lists
        from openlrm.factory.render_log import read_logs
        from openlrm.utils.paths import check_output, ensure_dir

        cfg = self.config
        setup_logging()
        output = Path(cfg.output)
        if cfg.pack is not None and Path(cfg.pack).exists():
            raise UserError("the pack is there already", cfg.pack, "remove it or choose another folder")
        if cfg.dry_run:
            return self._run_dry(output)
        if cfg.pack is not None:
            check_output(cfg.pack)
        if not cfg.finish_only:
            self._render(ensure_dir(output).resolve())
        elif not output.is_dir():
            raise UserError("no such folder of rendered objects", output)
        outcome = take_stock(output, read_logs(output), cfg.val_share)
        write_lists(output, outcome)
        write_data_card(output, outcome, cfg.licence, cfg.source)
        print(outcome.describe(output))
        if cfg.pack is not None and outcome.train:
            from openlrm.datasets.mindrecord import pack_objects

            print(f"wrote {cfg.pack}: {len(pack_objects(output, cfg.pack))} objects packed")
        return 0 if outcome.train else 1

    def _run_dry(self, output: Path) -> int:
        """What `dry_run` prints instead of doing it; nothing is fetched and Blender is not started."""
        from openlrm.factory.blender import find_blender, find_script
        from openlrm.factory.driver import make_plan
        from openlrm.factory.render_log import read_logs

        cfg = self.config
        print_config(cfg)
        if cfg.finish_only:
            print_facts([f"renders nothing, writes the lists and the data card of {output}"])
            return 0
        command = (*find_blender(cfg.blender, find_script(cfg.script)), *cfg.render.arguments())
        if cfg.objaverse is None:
            plan = make_plan(self._sources(), output, read_logs(output), cfg.retry_failed)
            todo = f"{len(plan.todo)} objects to render, {plan.finished} there already, {len(plan.given_up)} given up"
        else:
            todo = f"{len(self._objaverse_uids())} objects of Objaverse, those that are not there are fetched"
        print_facts([f"each by {shlex.join(command)}", todo])
        return 0

    def _render(self, output: Path) -> None:
        from openlrm.factory.blender import check_blender, find_blender, find_script
        from openlrm.factory.driver import keep_settings, make_plan, run_plan
        from openlrm.factory.render_log import RenderLog, read_logs
        from openlrm.factory.split import parse_shard

        cfg = self.config
        shard, count = parse_shard(cfg.shard)
        blender = find_blender(cfg.blender, find_script(cfg.script))
        sources = self._sources()
        keep_settings(output, cfg.render)
        log = RenderLog(output, shard, count)
        try:
            plan = make_plan(sources, output, read_logs(output), cfg.retry_failed)
            _tell(plan)
            if plan.todo:
                if cfg.engine == "local":
                    check_blender(blender)
                run_plan(plan, partial(self._job, output, blender), self._engine(), log)
        finally:
            log.close()

    def _sources(self) -> list[Source]:
        """Return the objects of our shard; only these are downloaded."""
        from openlrm.factory.sources import fetch_objaverse, find_sources

        cfg = self.config
        if cfg.objaverse is None:
            return [source for source in find_sources(cfg.input)[: cfg.limit] if self._is_ours(source.uid)]
        uids = self._objaverse_uids()
        return fetch_objaverse(uids, self._workers()) if uids else []

    def _objaverse_uids(self) -> list[str]:
        from openlrm.factory.sources import read_objaverse_uids

        return [uid for uid in read_objaverse_uids(self.config.objaverse)[: self.config.limit] if self._is_ours(uid)]

    def _is_ours(self, uid: str) -> bool:
        from openlrm.factory.split import in_shard, parse_shard

        return in_shard(uid, *parse_shard(self.config.shard))

    def _job(self, output: Path, blender: list[str], source: Source) -> Job:
        from openlrm.factory.work import Job

        cfg = self.config
        command = (*blender, *cfg.render.arguments())
        return Job(source.uid, str(source.path.resolve()), str(output), command, cfg.threads, cfg.time_limit)

    def _engine(self) -> Engine:
        from openlrm.factory.engines import render_locally, render_on_ray

        if self.config.engine == "ray":
            return partial(render_on_ray, address=self.config.ray_address, workers=self._workers())
        return partial(render_locally, workers=self._workers())

    def _workers(self) -> int:
        return self.config.workers or max(1, (os.cpu_count() or 1) // 2)


def _tell(plan: Plan) -> None:
    logger.info("%d objects to render, %d there already", len(plan.todo), plan.finished)
    for uid, reason in plan.given_up.items():
        logger.warning("failed before: %s: %s", uid, reason)
    if plan.given_up:
        logger.warning("%d objects failed before: retry_failed=true tries them again", len(plan.given_up))
