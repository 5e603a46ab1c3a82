"""`eval.lrm`: a model and rendered objects -> figures, and pictures to compare."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import model_fact, output_facts, print_config, print_facts
from openlrm.runners.evaluate.config import EvalLRMConfig
from openlrm.runners.evaluate.objects import Training, choose_uids, find_root, read_training, read_views
from openlrm.runners.evaluate.summary import describe, log_lines, summarise
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output, ensure_dir

if TYPE_CHECKING:
    from openlrm.checkpoint import LocatedModel
    from openlrm.metrics import PerceptualMetric
    from openlrm.models import ModelLRM
    from openlrm.parallel import World
    from openlrm.runners.evaluate.baselines import MeanObject
    from openlrm.runners.evaluate.objects import EvaluatedObject

logger = get_logger(__name__)


class EvalLRM(Runner):
    """Reconstruct every object from its view 0 and compare all views."""

    Config = EvalLRMConfig
    summary = (
        "Measure a model on rendered objects: view 0 is the input, every other view is rendered with its own camera. "
        "PSNR, SSIM, LPIPS, PSNR of the object's pixels, mask IoU, times. Baselines: the input copied and, with "
        "mean_of, the mean training object. Writes OUTPUT_PATH/e<epoch>/ with report.html, log_0.txt, metrics.json, "
        "metrics.csv, protocol.yaml and sheets/<uid>.png."
    )
    examples = (
        "python eval.py --model_path outputs/small/<time> --ckpt_name openlrm-e100000.ckpt --output_path output/small",
        "python -m openlrm.launch eval.lrm model_path=zxhezexin/openlrm-obj-small-1.1 data_root=assets/sample_object",
    )

    def run(self) -> int:
        """Write the report; objects that cannot be read are named and left out (exit code 2).

        Under msrun every worker takes its share of the objects, and the leading one writes.
        """
        cfg = self.config
        setup_logging(cfg.logger)
        from openlrm.checkpoint import build_model, locate_model
        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world
        from openlrm.runners.evaluate.protocol import build_protocol

        located = locate_model(cfg.model_path, cfg.ckpt_name)
        training = read_training(located.config_file.parent)
        roots = [cfg.data_root] if cfg.data_root else training.roots
        if not roots:
            raise UserError("data_root is missing", hint="the model comes without the cfg.yaml of its training")
        lists = [f"{cfg.data_root}/meta.json"] if cfg.data_root else training.lists
        uids = choose_uids(roots, lists, cfg.uids, cfg.uid_file)
        settings = self._settings(located, training)
        meshes = self._find_meshes(uids)
        mean_object = self._mean_object(roots, settings)
        folder = Path(cfg.output_path or f"outputs/eval/{located.name}") / _version_name(located)
        if not cfg.dry_run:
            check_output(folder / "metrics.json")
        device = setup_device(cfg.device_target, cfg.mode)
        world = setup_world()
        model = build_model(located)
        patch = model.encoder.model.spec.patch_size
        if settings["source_size"] % patch:
            raise UserError(f"source_size={settings['source_size']} is not a multiple of the encoder's patch {patch}")
        if cfg.dry_run:
            print_config(cfg)
            files = [folder / "metrics.json", *(folder / "sheets" / f"{uid}.png" for uid in uids)]
            print_facts([model_fact(located, model), f"{len(uids)} objects of {', '.join(roots)}"])
            print_facts([*output_facts(files), f"and log_0.txt, metrics.csv, protocol.yaml in {folder}"])
            return 0
        perceptual, without_lpips = self._perceptual()
        ensure_dir(folder)
        if world.leads:
            (folder / "log_0.txt").unlink(missing_ok=True)
        setup_logging(cfg.logger, folder / "log_0.txt" if world.leads else None)
        logger.info("model %s, weights %s, device %s, mode %d", located.name, located.weights, device, cfg.mode)
        if without_lpips:
            logger.info("no LPIPS: %s", without_lpips)
        _point_out_training(uids, training)
        objects, failed = {}, {}
        for uid in self._progress(world.share(uids)):
            entry = {"in_training": None if training.uids is None else uid in training.uids}
            try:
                item = read_views(find_root(roots, uid), uid, render_size=cfg.render_size, **settings)
                objects[uid] = entry | self._evaluate(
                    model, uid, item, perceptual, mean_object, meshes.get(uid), folder
                )
            except UserError as error:
                if len(uids) == 1 and world.size == 1:
                    raise
                failed[uid] = str(error)
            self._tell(uid, objects, failed)
        if world.size > 1:
            objects, failed = self._gather(world, uids, objects, failed)
        if not objects:
            raise UserError("no object could be evaluated", ", ".join(roots), "the lines above say why")
        protocol = build_protocol(cfg, located, device, roots, objects, settings, without_lpips)
        if world.leads:
            self._write(folder, located, summarise(objects, training), objects, failed, protocol)
        # Nobody ends before the report is there: msrun kills the others when one ends with an error.
        world.barrier()
        if failed:
            raise UserError(f"{len(failed)} of {len(uids)} objects failed", folder, "the lines above say why")
        return 0

    def _tell(self, uid: str, objects: dict[str, Any], failed: dict[str, str]) -> None:
        if uid in failed:
            logger.error("%s: %s", uid, failed[uid])
            return
        seen = " (training object)" if objects[uid]["in_training"] else ""
        logger.info("%s%s: %s", uid, seen, describe(objects[uid], self.config.count_input_view))

    def _gather(
        self, world: World, uids: list[str], objects: dict[str, Any], failed: dict[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Objects and failures of all workers in the order of `uids`; the leading one tells those of the others."""
        own = set(world.share(uids))
        parts = [json.loads(text) for text in world.texts(json.dumps([objects, failed]))]
        objects, failed = (
            {uid: part[kind][uid] for uid in uids for part in parts if uid in part[kind]} for kind in (0, 1)
        )
        for uid in uids:
            if world.leads and uid not in own:
                self._tell(uid, objects, failed)
        return objects, failed

    def _settings(self, located: LocatedModel, training: Training) -> dict[str, Any]:
        """Arguments of `read_views` that the command line or else the training decides."""
        from openlrm.inference.reconstruct import known_source_size

        cfg = self.config
        size = cfg.source_size or known_source_size(located)
        if size is None:
            raise UserError("source_size is missing", hint="the model does not say which size of input it was made for")
        distance = training.distance if cfg.normed_dist_to_center is None else cfg.normed_dist_to_center
        if distance != "auto":
            try:
                distance = float(distance)
            except ValueError:
                raise UserError(f"normed_dist_to_center={distance} is neither auto nor a number") from None
        normalize = training.normalize if cfg.normalize_camera is None else cfg.normalize_camera
        return {"source_size": size, "background": cfg.background, "normalize": normalize, "distance": distance}

    def _mean_object(self, roots: list[str], settings: dict[str, Any]) -> MeanObject | None:
        if self.config.mean_of is None:
            return None
        from openlrm.runners.evaluate.baselines import MeanObject

        uids = choose_uids(roots, [], [], self.config.mean_of)
        return MeanObject(roots, uids, *(settings[key] for key in ("background", "normalize", "distance")))

    def _find_meshes(self, uids: list[str]) -> dict[str, Path]:
        """Files of the true meshes, of the objects that have one."""
        from openlrm.runners.evaluate.meshes import SUFFIXES, find_mesh

        cfg = self.config
        if cfg.mesh_root is None:
            return {}
        paths = {uid: path for uid in uids if (path := find_mesh(cfg.mesh_root, uid)) is not None}
        if not paths:
            raise UserError("no mesh of any object", cfg.mesh_root, f"they are called <uid>{'|'.join(SUFFIXES)}")
        for uid in uids:
            if uid not in paths:
                logger.warning("%s: no mesh in %s", uid, cfg.mesh_root)
        return paths

    def _perceptual(self) -> tuple[PerceptualMetric | None, str | None]:
        """LPIPS, or None and the reason."""
        from openlrm.metrics import PerceptualMetric

        cfg = self.config
        if cfg.lpips_backbone == "none":
            return None, "lpips_backbone=none"
        if cfg.lpips_backbone != "auto":
            return PerceptualMetric(cfg.lpips_backbone), None
        try:
            return PerceptualMetric(), None
        except UserError as error:
            return None, str(error)

    def _progress(self, uids: list[str]):
        from tqdm import tqdm

        return tqdm(uids, desc="eval", unit="object")

    def _evaluate(
        self,
        model: ModelLRM,
        uid: str,
        item: EvaluatedObject,
        perceptual: PerceptualMetric | None,
        mean_object: MeanObject | None,
        mesh: Path | None,
        folder: Path,
    ) -> dict[str, Any]:
        """Figures of one object; writes its sheet."""
        from mindspore import Tensor

        from openlrm.inference.scene import Scene
        from openlrm.losses.lpips import MIN_SIDE
        from openlrm.runners.evaluate.meshes import read_mesh, score_mesh
        from openlrm.runners.evaluate.report import write_sheet
        from openlrm.runners.evaluate.scores import score_object

        cfg = self.config
        truth = None if mesh is None else read_mesh(mesh, cfg.mesh_up)
        start = time.perf_counter()
        planes = model.forward_planes(Tensor(item.source_image[None]), Tensor(item.source_camera[None]))
        if not np.isfinite(planes.asnumpy()).all():
            raise UserError("the triplane holds NaN or infinity", hint="are the weights damaged?")
        reconstructed = time.perf_counter()
        scene = Scene(planes, model.synthesizer, cfg.renderer)
        rendered = list(scene.views(item.cameras, item.truth.shape[-1], cfg.background))
        end = time.perf_counter()
        shown = np.stack([view.rgb for view in rendered]).transpose(0, 3, 1, 2)
        opacity = np.stack([view.mask for view in rendered])
        size = item.truth.shape[-1]
        mean_views = None if mean_object is None else mean_object.render(item.cameras, size)
        perceptual = perceptual if size >= MIN_SIDE else None
        entry = score_object(item.truth, item.alpha, shown, opacity, perceptual, mean_views)
        entry |= {"seconds_planes": reconstructed - start, "seconds_render": end - reconstructed}
        if truth is not None:
            try:
                ours = scene.mesh(cfg.mesh_size, cfg.mesh_thres)
                entry["mesh"] = score_mesh(ours, truth, item.turn, cfg.f_score_thresholds, cfg.mesh_points)
            except UserError as error:
                logger.warning("%s: no figures of the mesh: %s", uid, error)
                entry["mesh"] = None
        write_sheet(folder / "sheets" / f"{uid}.png", item.source_image, item.truth, shown, entry["views"])
        return entry

    def _write(
        self,
        folder: Path,
        located: LocatedModel,
        summary: dict[str, Any],
        objects: dict[str, Any],
        failed: dict[str, str],
        protocol: dict[str, Any],
    ) -> None:
        from openlrm.reports import write_report
        from openlrm.runners.evaluate.report import write_csv, write_json, write_yaml

        counts = self.config.count_input_view
        head = {"model": located.name, "weights": str(located.weights), "input_view_counts": counts}
        write_json(folder / "metrics.json", head | summary | {"objects": objects, "failed": failed})
        write_csv(folder / "metrics.csv", objects, summary["mean"])
        write_yaml(folder / "protocol.yaml", protocol)
        for line in log_lines(summary, len(objects), counts):
            logger.info("%s", line)
        logger.info("wrote %s, metrics.json, metrics.csv, protocol.yaml and sheets", write_report(folder))


def _point_out_training(uids: list[str], training: Training) -> None:
    seen = [uid for uid in uids if training.uids and uid in training.uids]
    if seen:
        names = ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else "")
        message = "%d of %d objects were trained on (%s): their figures say nothing of new objects"
        logger.warning(message, len(seen), len(uids), names)


def _version_name(located: LocatedModel) -> str:
    """Folder of the results: e<epoch>, release, or the name of a checkpoint without an epoch."""
    if located.epoch is not None:
        return f"e{located.epoch}"
    return "release" if located.weights.suffix == ".safetensors" else located.weights.stem
