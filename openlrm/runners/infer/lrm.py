"""`infer.lrm`: pictures of objects -> turntable videos and coloured meshes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import model_fact, output_facts, print_config, print_facts
from openlrm.runners.infer.config import InferConfig
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output, unique_output_names

if TYPE_CHECKING:
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.parallel import World
    from openlrm.preprocess.posed_views import PosedViews
    from openlrm.representations.base import Representation

logger = get_logger(__name__)


class InferLRM(Runner):
    """Reconstruct every picture and write what was asked for."""

    Config = InferConfig
    summary = "Reconstruct objects from single pictures: turntable video and coloured mesh."
    examples = (
        "python -m openlrm.launch infer.lrm --infer configs/infer-s.yaml model_name=zxhezexin/openlrm-obj-small-1.1 "
        "image_input=assets/sample_input export_video=true export_mesh=true",
        "python -m openlrm.launch infer.lrm model_name=MODEL views=captures/cup view=4 export_mesh=true",
        "python -m openlrm.launch infer.lrm planes_input=outputs/fit/cup.safetensors export_mesh=true mesh_format=glb",
    )

    world: World
    views: PosedViews | None

    def run(self) -> int:
        """Write the outputs; the exit code is 2 when one of several pictures failed.

        Under msrun every worker takes its share of the pictures.
        """
        cfg = self.config
        setup_logging(cfg.logger)
        cfg.check()
        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world

        device = setup_device(cfg.device_target, cfg.mode, cfg.device_id)
        self.world = setup_world()
        found = "asked for" if cfg.device_target else "chosen: the best there is"
        logger.info("device %s (%s), mode %d (%s)", device, found, cfg.mode, "graph" if cfg.mode == 0 else "PyNative")
        if cfg.planes_input:
            return self._run_planes() if self.world.leads else 0
        return self._run_images()

    def _run_planes(self) -> int:
        from openlrm.representations import read_representation

        cfg = self.config
        path = Path(cfg.planes_input)
        targets = cfg.targets(path.resolve().parent.name or "planes", path.stem)
        self._check_targets([targets])
        scene = read_representation(path, cfg.renderer)
        if cfg.dry_run:
            return self._tell([f"{scene.describe()} {path}"], [targets])
        self._export(scene, targets)
        return 0

    def _tell(self, facts: list[str], targets: list[dict[str, Path]]) -> int:
        """What `dry_run` prints instead of doing it."""
        print_config(self.config)
        print_facts([*facts, *output_facts(path for files in targets for path in files.values())])
        return 0

    def _run_images(self) -> int:
        from openlrm.checkpoint import locate_model
        from openlrm.families.reconstructor import Reconstructor, family_of, results_of

        cfg = self.config
        images = [Path(cfg.views[0])] if cfg.views else cfg.images()
        located = locate_model(cfg.model_name, cfg.model_ckpt, cfg.epoch)
        results = results_of(located, cfg.adapter)
        names = [cfg.views_name()] if cfg.views else unique_output_names(images, cfg.image_input, cfg.endings())
        self._check_targets([cfg.targets(results, uid) for uid in names])
        # Before the weights: what is wrong with the pictures is told at once.
        self.views = cfg.read_views(family_of(located)) if cfg.views else None
        reconstructor = Reconstructor.load(located, cfg.source_size, adapter=cfg.adapter, precision=cfg.precision)
        logger.info("model %s, weights %s, products in %s", located.name, located.weights, reconstructor.precision)
        if cfg.dry_run:
            return self._tell([model_fact(located, reconstructor.model)], [cfg.targets(results, uid) for uid in names])
        errors = []
        for image, uid in self.world.share(list(zip(images, names, strict=True))):
            targets = cfg.targets(results, uid)
            if not targets:
                logger.info("%s: already done", image)
                continue
            try:
                self._export(self._reconstruct(reconstructor, image), targets)
            except (UserError, MemoryError) as error:
                if isinstance(error, MemoryError):
                    error = UserError("not enough memory for the picture or its results", image, "choose smaller ones")
                if len(images) > 1:
                    logger.error("%s: %s", image, error)
                errors.append(error)
        # Nobody ends before all have finished: msrun kills the others when one ends with an error.
        failed = round(self.world.sum([len(errors)])[0])
        if errors and len(images) == 1:
            raise errors[0]
        if failed:
            raise UserError(f"{failed} of {len(images)} pictures failed", cfg.image_input, "the lines above say why")
        if self.world.size > 1 and self.world.leads:
            logger.info("%d pictures done by %d workers", len(images), self.world.size)
        return 0

    def _check_targets(self, targets: list[dict[str, Path]]) -> None:
        """Refuse what could not be written after the work; a dry run writes nothing."""
        from openlrm.utils.video import check_video

        if self.config.dry_run or not self.world.leads:
            return
        for files in targets:
            for kind, path in files.items():
                (check_video if kind in ("rgb", "depth", "mask") else check_output)(path)

    def _reconstruct(self, reconstructor: Reconstructor, image: Path) -> Representation:
        from openlrm.preprocess import border_ratio_at, prepare_picture

        cfg = self.config
        if (views := self.views) is not None:
            logger.info("%s: %d views", image, len(views))
            return reconstructor(views.pictures, views.cameras, cfg.renderer, views.names)
        margin = border_ratio_at(cfg.source_cam_dist)
        picture = prepare_picture(image, cfg.background, cfg.recentre, margin).pixels
        return reconstructor(picture, None, cfg.renderer, image, cfg.source_cam_dist)

    def _export(self, scene: Representation, targets: dict[str, Path]) -> None:
        from openlrm.representations.export import export_mesh, export_videos

        cfg = self.config
        cfg.write_gaussians(scene, targets)
        if "planes" in targets:
            scene.write(targets["planes"])
            logger.info("wrote %s", targets["planes"])
        videos = {kind: targets[kind] for kind in ("rgb", "depth", "mask") if kind in targets}
        if videos:
            written = export_videos(
                scene,
                videos,
                cfg.render_views,
                cfg.render_size,
                cfg.render_fps,
                batch=min(cfg.frame_size, cfg.render_views),
            )
            logger.info("wrote %s", ", ".join(map(str, written)))
        if "mesh" in targets:
            vertices, faces = export_mesh(scene, targets["mesh"], cfg.mesh_settings())
            logger.info("wrote %s: %d vertices, %d faces", targets["mesh"], vertices, faces)
