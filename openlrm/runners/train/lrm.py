"""`train.lrm`: rendered objects -> a trained LRM."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import print_config, print_facts
from openlrm.runners.train.config import TrainLRMConfig
from openlrm.runners.train.dry_run import time_fact
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from mindspore import nn

    from openlrm.datasets import TrainItems
    from openlrm.models.lrm import ModelLRM
    from openlrm.parallel import World
    from openlrm.training.estimate import MemoryEstimate
    from openlrm.training.step import LRMGradient
    from openlrm.training.validation import Validator

logger = get_logger(__name__)

# A resumed run may not differ from the first in these: its state would not fit, or the draws would be others.
_FIXED = ("model.", "data.", "seed", "train.gradient_accumulation_steps", "train.overfit")
_FIXED_EXCEPT = ("data.cache_mib", "data.max_broken")


class TrainLRM(Runner):
    """Set up data, model and loop; train."""

    Config = TrainLRMConfig
    summary = (
        "Train an LRM on rendered objects. Writes OUTPUT_PATH/NAME/TIME with cfg.yaml, manifest.json, log_0.txt, "
        "metrics.jsonl, report.html, ckpt/openlrm-e<epoch>.ckpt (for infer.lrm and eval.py) and "
        "ckpt/train_resume.ckpt. Ctrl-C and SIGTERM save and stop."
    )
    examples = (
        "python -m openlrm.launch train.lrm --config configs/train-sample-tiny.yaml --overfit 3",
        "python -m openlrm.launch train.lrm --config configs/train-sample-small.yaml --mode 1 --dry_run",
        "python -m openlrm.launch train.lrm --config configs/train-sample-small.yaml --mode 1 --epochs 100000",
        "python -m openlrm.launch train.lrm --config outputs/small/TIME/cfg.yaml --resume outputs/small/TIME",
    )

    world: World

    def run(self) -> int:
        """Train to the end or to a signal; its exit code."""
        cfg = self.config
        setup_logging("debug" if cfg.report.debug else cfg.report.logger)
        from omegaconf import OmegaConf

        from openlrm.datasets import batches_per_epoch, make_loader
        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world
        from openlrm.training.precision import apply_precision, check_precision
        from openlrm.training.run_folder import LOG, build_manifest, new_run_folder, write_run_files
        from openlrm.training.trainer import Trainer
        from openlrm.training.update import Update

        if not cfg.dry_run and cfg.saver.resume is None:
            check_output(Path(cfg.saver.output_path) / cfg.saver.name / "TIME")
        device = setup_device(cfg.device_target, cfg.mode)
        self.world = world = setup_world(cfg.use_parallel)
        folder = self._resumed_folder()
        check_precision(cfg.train.precision, half_precision=device == "Ascend")
        items = self._items()
        per_epoch = batches_per_epoch(items, world.size * cfg.train.batch_size)
        accumulated = cfg.train.gradient_accumulation_steps
        total = cfg.train.train_steps or max(1, cfg.train.epochs * per_epoch // accumulated)
        validator = self._validator(items)
        model = self._model(resumed=folder is not None)
        gradient = self._gradient(apply_precision(model, cfg.train.precision))
        update = Update(gradient, cfg.train, total, world, sharded=cfg.parallel_mode == "optim")

        def loader(epoch: int, batch: int):
            end = -(-total * accumulated // per_epoch) + 1
            sizes = (cfg.train.batch_size, cfg.num_parallel_workers)
            return make_loader(items, *sizes, epoch, batch, end, world.rank, world.size)

        memory = self._memory(model, gradient)
        facts = self._facts(device, model, gradient, memory, len(items), per_epoch, total)
        if validator is not None:
            facts.append(f"validation: {len(validator.uids)} {validator.kind} objects, {validator.uids[0]} first")
        if cfg.dry_run:
            print_config(cfg)
            print_facts(facts)
            print_facts([time_fact(update, loader, cfg.train, total, memory.total)])
            return 0
        resumed = folder is not None
        if not resumed:
            if world.leads:
                folder = new_run_folder(cfg.saver.output_path, cfg.saver.name)
                roots = [root for subset in cfg.data.subsets for root in subset.root_dirs]
                manifest = build_manifest(cfg, items.uids, roots, device) | {"workers": world.size}
                write_run_files(folder, cfg, model.config_dict, items.uids, manifest)
            folder = Path(world.texts(str(folder))[0])
        setup_logging("debug" if cfg.report.debug else cfg.report.logger, folder / LOG if world.leads else None)
        logger.info("run folder %s", folder)
        logger.info("config:\n%s", OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(cfg))))
        for fact in facts:
            logger.info("%s", fact)
        logger.info("hours are told after the first steps")
        trainer = Trainer(model, update, loader, per_epoch, total, folder, cfg, len(items.uids) > 1, validator, world)
        if resumed:
            trainer.resume()
        return trainer.run()

    def _resumed_folder(self) -> Path | None:
        """Folder of the run to go on with; None for a new run."""
        from openlrm.training.run_folder import changed_options, find_run, workers_of

        saver = self.config.saver
        if saver.resume is None:
            return None
        folder = find_run(saver.output_path, saver.name, saver.resume)
        changed = changed_options(folder, self.config)
        size = self.config.train.batch_size
        batch_then, _ = changed.pop("train.batch_size", (size, size))
        self._check_batch(folder, batch_then, workers_of(folder))
        wrong = {key: pair for key, pair in changed.items() if key.startswith(_FIXED) and key not in _FIXED_EXCEPT}
        if wrong:
            listed = ", ".join(f"{key} {then} -> {now}" for key, (then, now) in wrong.items())
            raise UserError(f"options differ from the run's: {listed}", folder, f"give --config {folder}/cfg.yaml")
        told = {key: pair for key, pair in changed.items() if not key.startswith("saver.")}
        for key, (then, now) in told.items():
            logger.info("resumed with %s=%s (was %s)", key, now, then)
        return folder

    def _check_batch(self, folder: Path, objects: int, workers: int) -> None:
        """Refuse another number of objects a step: `objects` on each of `workers` is what the run began with."""
        begun, now, size = objects * workers, self.config.train.batch_size, self.world.size
        if begun == now * size:
            return
        what = f"a step of the run takes {begun} objects ({objects} on each of {workers} workers), not {now * size}"
        fitting = f"give train.batch_size={begun // size}" if begun % size == 0 else f"no share for {size} workers"
        raise UserError(what, folder, f"{fitting}: the draws would be others")

    def _items(self) -> TrainItems:
        from openlrm.datasets import TrainItems

        cfg = self.config
        items = TrainItems(cfg.data, cfg.seed)
        held_out = set(cfg.val.val_uids)
        wanted = [uid for uid in items.uids if uid not in held_out]
        if cfg.train.overfit:
            wanted = wanted[: cfg.train.overfit]
        if not wanted:
            raise UserError("no training objects are left beside val.val_uids", "config")
        return items if len(wanted) == len(items.uids) else TrainItems(cfg.data, cfg.seed, wanted)

    def _validator(self, items: TrainItems) -> Validator | None:
        from openlrm.training.held_out import choose_validation
        from openlrm.training.validation import Validator

        cfg, val = self.config, self.config.val
        if not val.val_interval and not val.stop_drop:
            return None
        objects, kind = choose_validation(cfg.data, val, items, overfit=cfg.train.overfit > 0)
        return Validator(objects, val.val_objects, kind)

    def _model(self, resumed: bool) -> ModelLRM:
        import mindspore as ms

        from openlrm.checkpoint import load_encoder
        from openlrm.models.lrm import ModelLRM
        from openlrm.training.start import strong_start

        cfg = self.config
        saver = cfg.saver
        if cfg.model.encoder_freeze and not (saver.load_model or saver.load_encoder or resumed):
            what = "a frozen encoder would keep its random weights"
            hint = "give saver.load_encoder=FILE (published DINOv2), saver.load_model, or model.encoder_freeze=false"
            raise UserError(what, "config", hint)
        ms.set_seed(cfg.seed)
        model = ModelLRM(**cfg.model.values())
        if cfg.train.use_recompute:
            for layer in model.transformer.layers:
                layer.recompute()
        if cfg.train.strong_start and not (saver.load_model or resumed):
            strong_start(model, cfg.seed, encoder=not saver.load_encoder)
        if saver.load_model and not resumed:
            self._load(model, saver.load_model)
        if saver.load_encoder and not resumed:
            load_encoder(model, saver.load_encoder)
        return model

    def _load(self, model: ModelLRM, name: str) -> None:
        """Put a model's weights into ours; sizes that differ are told one by one."""
        from openlrm.checkpoint import apply_tensors, locate_model, read_tensors
        from openlrm.models.lrm.weights import from_checkpoint

        located = locate_model(name)
        ours, theirs = _comparable(model.config_dict), _comparable(located.config)
        differ = [
            f"{key} {theirs.get(key)} (there) / {ours.get(key)} (here)"
            for key in sorted({*ours, *theirs})
            if ours.get(key) != theirs.get(key)
        ]
        if differ:
            raise UserError(f"load_model is of other sizes: {', '.join(differ)}", located.config_file)
        expected = {key for key, _ in model.parameters_and_names()}
        apply_tensors(model, from_checkpoint(read_tensors(located.weights), expected), str(located.weights))
        logger.info("starting from %s", located.weights)

    def _gradient(self, model: ModelLRM) -> LRMGradient:
        from openlrm.ops import host_kernels
        from openlrm.training.deferred import DeferredGradient, check_squares
        from openlrm.training.step import LRMGradient

        cfg, train = self.config, self.config.train
        region = cfg.data.render_region_size
        lpips = self._lpips(region)
        if train.deferred_region:
            check_squares(region, train.deferred_region)
            if not host_kernels():
                arguments = (model, train.loss, region, cfg.seed, train.deferred_region, lpips)
                return DeferredGradient(*arguments, self.world)
        return LRMGradient(model, train.loss, region, cfg.seed, lpips, self.world)

    def _lpips(self, region: int) -> nn.Cell | None:
        loss = self.config.train.loss
        if loss.perceptual_weight == 0:
            return None
        from openlrm.losses import LPIPS
        from openlrm.losses.lpips import MIN_SIDE

        if region < MIN_SIDE:
            what = f"LPIPS needs regions of {MIN_SIDE} pixels, data.render_region_size={region}"
            raise UserError(what, "config", "or give train.loss.perceptual_weight=0")
        return LPIPS(loss.lpips_backbone) if loss.lpips_backbone else LPIPS()

    def _memory(self, model: ModelLRM, gradient: LRMGradient) -> MemoryEstimate:
        from openlrm.ops import host_kernels
        from openlrm.training.estimate import estimate_memory

        cfg, train = self.config, self.config.train
        side = train.deferred_region or cfg.data.render_region_size
        rays = 0 if host_kernels() else (cfg.data.sample_side_views + 1) * side**2
        workers = self.world.size
        # Gradient, its sum over the workers, two moments and, sharded, a copy of the weights.
        state = 3 / workers if workers > 1 and cfg.parallel_mode == "optim" else 2
        copies = 1 + (workers > 1) + state + train.use_ema + (train.gradient_accumulation_steps > 1)
        return estimate_memory(
            model.config,
            sum(p.size for p in model.get_parameters()),
            gradient.parameters,
            train.batch_size,
            rays,
            copies,
            recompute=train.use_recompute,
            deferred=train.deferred_region > 0 and rays > 0,
        )

    def _facts(
        self,
        device: str,
        model: ModelLRM,
        gradient: LRMGradient,
        memory: MemoryEstimate,
        objects: int,
        per_epoch: int,
        total: int,
    ) -> list[str]:
        """Sizes of the run and what it will need, in lines."""
        from openlrm.ops import host_kernels

        cfg = self.config
        everything = sum(p.size for p in model.get_parameters())
        trained = sum(p.size for p in gradient.parameters)
        lines = [
            f"device {device}, mode {cfg.mode} ({'PyNative' if cfg.mode else 'graph'})",
            f"{everything / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained",
            self._told_batch(),
            f"{objects} objects, {per_epoch} batches an epoch, {total} steps in all",
            f"memory of a step: {memory}",
        ]
        if cfg.train.deferred_region and host_kernels():
            lines.append("train.deferred_region is not needed here: rays are rendered one by one and nothing is kept")
        return lines

    def _told_batch(self) -> str:
        size, workers = self.config.train.batch_size, self.world.size
        if workers == 1:
            return f"batch of {size}, one process"
        return f"batch of {size} on each of {workers} workers: {size * workers} together"


def _comparable(config: dict) -> dict:
    """Sizes that weights depend on; an encoder by what it is, not by how it is written."""
    from openlrm.models.encoders import encoder_spec
    from openlrm.models.lrm import LRMConfig

    sizes = dataclasses.asdict(LRMConfig.from_dict(config))
    names = ("encoder_type", "encoder_model_name", "encoder_feat_dim")
    spec = encoder_spec(*(sizes.pop(name) for name in names), sizes.pop("encoder"))
    kept = {key: value for key, value in sizes.items() if key not in ("encoder_freeze", "rendering_samples_per_ray")}
    return kept | {"encoder": spec}
