"""`eval.lrm`: a model of any family and rendered objects -> figures, and pictures to compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.evaluation.config import EvalConfig
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import model_fact, output_facts, print_config, print_facts
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output, ensure_dir
from openlrm.utils.run_files import Training, read_training

if TYPE_CHECKING:
    from openlrm.evaluation.baselines import MeanObject
    from openlrm.metrics import PerceptualMetric

logger = get_logger(__name__)


class EvalLRM(Runner):
    """Reconstruct every object from its view 0 and compare all views."""

    Config = EvalConfig
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
        from openlrm.checkpoint import locate_model
        from openlrm.evaluation.evaluator import Evaluator
        from openlrm.evaluation.meshes import find_meshes
        from openlrm.evaluation.named import find_protocol
        from openlrm.evaluation.objects import choose_uids
        from openlrm.evaluation.protocol import build_protocol
        from openlrm.evaluation.session import evaluate_objects, point_out_training, write_results
        from openlrm.families.reconstructor import Reconstructor
        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world

        protocol = find_protocol(cfg.protocol)
        protocol.apply(cfg)
        located = locate_model(cfg.model_path, cfg.ckpt_name)
        training = read_training(located.config_file.parent)
        roots = [cfg.data_root] if cfg.data_root else training.roots
        if not roots:
            raise UserError("data_root is missing", hint="the model comes without the cfg.yaml of its training")
        lists = [f"{cfg.data_root}/meta.json"] if cfg.data_root else training.lists
        uids = choose_uids(roots, lists, cfg.uids, cfg.uid_file)
        protocol.check_objects(uids)
        cameras = self._cameras(training)
        meshes = find_meshes(cfg.mesh_root, uids)
        mean_object = self._mean_object(roots, cameras)
        folder = Path(cfg.output_path or f"outputs/eval/{located.name}") / located.version
        if cfg.adapter is not None:
            folder = folder.with_name(f"{folder.name}+{Path(cfg.adapter).resolve().name}")
        if not cfg.dry_run:
            check_output(folder / "metrics.json")
        device = setup_device(cfg.device_target, cfg.mode, cfg.device_id)
        world = setup_world()
        reconstructor = Reconstructor.load(located, cfg.source_size, adapter=cfg.adapter, precision=cfg.precision)
        if cfg.dry_run:
            print_config(cfg)
            files = [folder / "metrics.json", *(folder / "sheets" / f"{uid}.png" for uid in uids)]
            print_facts([model_fact(located, reconstructor.model), f"{len(uids)} objects of {', '.join(roots)}"])
            print_facts([*output_facts(files), f"and log_0.txt, metrics.csv, protocol.yaml in {folder}"])
            return 0
        perceptual, without_lpips = self._perceptual()
        ensure_dir(folder)
        if world.leads:
            (folder / "log_0.txt").unlink(missing_ok=True)
        setup_logging(cfg.logger, folder / "log_0.txt" if world.leads else None)
        where = device, cfg.mode, reconstructor.precision
        logger.info("model %s, weights %s, device %s, mode %d, products in %s", located.name, located.weights, *where)
        if without_lpips:
            logger.info("no LPIPS: %s", without_lpips)
        point_out_training(uids, training)
        evaluator = Evaluator(reconstructor, cfg, perceptual, mean_object, meshes, folder)
        objects, failed = evaluate_objects(evaluator, uids, roots, cameras, training, world)
        if not objects:
            raise UserError("no object could be evaluated", ", ".join(roots), "the lines above say why")
        size = reconstructor.source_size
        where = device, reconstructor.precision
        protocol = build_protocol(cfg, located, where, roots, objects, size, cameras, without_lpips)
        if world.leads:
            write_results(folder, located, objects, failed, training, protocol, cfg.count_input_view)
        # Nobody ends before the report is there: msrun kills the others when one ends with an error.
        world.barrier()
        if failed:
            raise UserError(f"{len(failed)} of {len(uids)} objects failed", folder, "the lines above say why")
        return 0

    def _cameras(self, training: Training) -> tuple[bool, str | float]:
        """Whether cameras are turned, and the source camera's distance: by the command line or else the training."""
        cfg = self.config
        distance = training.distance if cfg.normed_dist_to_center is None else cfg.normed_dist_to_center
        if distance != "auto":
            try:
                distance = float(distance)
            except ValueError:
                raise UserError(f"normed_dist_to_center={distance} is neither auto nor a number") from None
        return training.normalize if cfg.normalize_camera is None else cfg.normalize_camera, distance

    def _mean_object(self, roots: list[str], cameras: tuple[bool, str | float]) -> MeanObject | None:
        if self.config.mean_of is None:
            return None
        from openlrm.evaluation.baselines import MeanObject
        from openlrm.evaluation.objects import choose_uids

        return MeanObject(roots, choose_uids(roots, [], [], self.config.mean_of), self.config.background, *cameras)

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
