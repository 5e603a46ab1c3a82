"""`fit.triplane`: posed views of one object -> a fitted triplane, its turntable and its mesh."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.fitting.config import FIXED, FitTriplaneConfig
from openlrm.runners.base import Runner
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from openlrm.datasets import PosedViews
    from openlrm.fitting.triplane import FittedTriplane, TriplaneFitTask
    from openlrm.representations.triplane import Triplane
    from openlrm.training.trainer import Trainer

logger = get_logger(__name__)


class FitTriplane(Runner):
    """Optimise planes and decoder, measure them on the views kept back, write what was asked for."""

    Config = FitTriplaneConfig
    summary = (
        "Fit a triplane and its decoder to posed views of one object: the best any LRM could do with them. "
        "Writes planes.safetensors (for infer.lrm planes_input=...), metrics.json, and video and mesh if asked. "
        "Ctrl-C and SIGTERM save and stop; resume=true goes on."
    )
    examples = (
        "python -m openlrm.launch fit.triplane --config configs/fit-sample.yaml",
        "python -m openlrm.launch fit.triplane data_root=assets/sample_object uid=food_dinner "
        "export_video=true export_mesh=true",
    )

    def run(self) -> int:
        """Fit, measure, write; an interruption (exit code 130) keeps what is reached."""
        cfg = self.config
        setup_logging(cfg.logger)
        if cfg.model_name and cfg.planes_input:
            raise UserError("model_name and planes_input are two different starts", hint="give one of them")
        if cfg.export_mesh:
            cfg.mesh_settings().check(f"{cfg.uid}.{cfg.mesh_format}")
        output = Path(cfg.output or f"outputs/fit/{cfg.uid}")
        self._check_outputs(output)
        import numpy as np

        from openlrm.fitting.triplane import TriplaneFitTask
        from openlrm.ops import setup_device

        views = self._read_views()
        if cfg.kept_views >= len(views):
            raise UserError(f"kept_views={cfg.kept_views}, but the object has {len(views)} views", cfg.uid)
        logger.info("device %s, mode %d", setup_device(cfg.device_target, cfg.mode, cfg.device_id), cfg.mode)
        kept = np.round((np.arange(cfg.kept_views) + 0.5) * len(views) / max(cfg.kept_views, 1)).astype(int)
        fitted = np.setdiff1d(np.arange(len(views)), kept)
        weights = (cfg.mask_weight, cfg.tv_weight, cfg.plane_rate, cfg.decoder_rate)
        task = TriplaneFitTask(self._start(views), views.take(fitted), cfg.region_size, *weights, cfg.seed, cfg.uid)
        trainer = self._trainer(task, output)
        start = time.monotonic()
        code = trainer.run()
        seconds = round(time.monotonic() - start, 1)
        with trainer.averaged():
            scene = task.representation()
            scene.write(output / "planes.safetensors")
            logger.info("wrote %s", output / "planes.safetensors")
            if trainer.stop.signal is not None:
                return code
            if cfg.kept_views:
                from openlrm.fitting.scores import measure_fit

                facts = {"uid": cfg.uid, "views_fitted": len(fitted), "steps": cfg.steps, "seconds": seconds}
                measure_fit(scene, views.take(kept), facts, output)
            self._export(scene, output)
        return 0

    def _check_outputs(self, output: Path) -> None:
        from openlrm.utils.video import check_video

        for name in ("planes.safetensors", "metrics.json", "comparison.png"):
            check_output(output / name)
        if self.config.export_video:
            check_video(output / f"{self.config.uid}.{self.config.video_format}")
        if self.config.export_mesh:
            check_output(output / f"{self.config.uid}.{self.config.mesh_format}")

    def _trainer(self, task: TriplaneFitTask, output: Path) -> Trainer:
        """The loop, at its beginning or where an earlier one stopped."""
        from openlrm.config import save_config
        from openlrm.training.run_folder import changed_options
        from openlrm.training.trainer import Trainer
        from openlrm.training.update import Update
        from openlrm.utils.run_files import CONFIG, RECORDS

        cfg = self.config
        run = task.run_config(cfg.steps, cfg.use_ema, cfg.ema_decay, cfg.save_steps)
        if cfg.resume:
            if not (output / CONFIG).is_file():
                raise UserError("no fit to go on with", output, "leave resume out to start one")
            changed = {k: pair for k, pair in changed_options(output, cfg).items() if k in FIXED}
            if changed:
                listed = ", ".join(f"{key} {then} -> {now}" for key, (then, now) in changed.items())
                raise UserError(f"options differ from the fit's: {listed}", output, "give those it began with")
        trainer = Trainer(task, Update(task, run.train, cfg.steps), output, run)
        if cfg.resume:
            trainer.resume()
        else:
            shutil.rmtree(output / "ckpt", ignore_errors=True)
            (output / RECORDS).unlink(missing_ok=True)
            save_config(cfg, output / CONFIG)
        return trainer

    def _read_views(self) -> PosedViews:
        from openlrm.datasets import object_views

        cfg = self.config
        # A model predicts in the frame where view 0 is the default source camera.
        views = object_views(cfg.data_root, cfg.uid, normalize=cfg.model_name is not None)
        side = views.rgba.shape[1]
        if cfg.region_size > side:
            raise UserError(f"region_size={cfg.region_size} is larger than the views ({side})", cfg.uid)
        return views

    def _start(self, views: PosedViews) -> FittedTriplane:
        import mindspore as ms

        from openlrm.fitting.triplane import FittedTriplane, random_planes
        from openlrm.representations.triplane import Triplane, TriplaneSynthesizer

        cfg = self.config
        ms.set_seed(cfg.seed)
        if cfg.planes_input:
            start = Triplane.read(cfg.planes_input)
        elif cfg.model_name:
            start = self._predict(views)
        else:
            planes = random_planes(cfg.triplane_dim, cfg.triplane_res, scale=0.3, seed=cfg.seed)
            start = Triplane(planes, TriplaneSynthesizer(cfg.triplane_dim, cfg.samples_per_ray))
        return FittedTriplane(start.planes, start.synthesizer)

    def _predict(self, views: PosedViews) -> Triplane:
        from openlrm.checkpoint import locate_model
        from openlrm.families.reconstructor import Reconstructor
        from openlrm.representations.triplane import Triplane

        cfg = self.config
        start = Reconstructor.load(locate_model(cfg.model_name), cfg.source_size)(views.rgba[0], views.cameras[0])
        if not isinstance(start, Triplane):
            raise UserError("the model does not make triplanes", cfg.model_name, "name one that does")
        return start

    def _export(self, scene: Triplane, output: Path) -> None:
        from openlrm.representations.export import export_mesh, export_videos

        cfg = self.config
        if cfg.export_video:
            path = output / f"{cfg.uid}.{cfg.video_format}"
            written = export_videos(scene, {"rgb": path}, cfg.render_views, cfg.render_size, cfg.render_fps)
            logger.info("wrote %s", written[0])
        if cfg.export_mesh:
            path = output / f"{cfg.uid}.{cfg.mesh_format}"
            vertices, faces = export_mesh(scene, path, cfg.mesh_settings())
            logger.info("wrote %s: %d vertices, %d faces", path, vertices, faces)
