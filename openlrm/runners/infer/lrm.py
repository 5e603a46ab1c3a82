"""`infer.lrm`: pictures of objects -> turntable videos and coloured meshes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.inference.mesh_options import MeshOptions, check_mesh_request
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import model_fact, output_facts, print_config, print_facts
from openlrm.utils.logging import LEVELS, get_logger, setup_logging
from openlrm.utils.paths import check_output, list_images, unique_output_names

if TYPE_CHECKING:
    from openlrm.inference.reconstruct import Reconstructor
    from openlrm.inference.scene import Scene
    from openlrm.parallel import World

logger = get_logger(__name__)


@dataclass
class _InferOptions:
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    model_name: Optional[str] = option(None, "release folder, run folder, .ckpt file or hub id of the model")  # noqa: UP045
    model_ckpt: Optional[str] = option(None, "checkpoint of the run folder; the newest without it")  # noqa: UP045
    epoch: Optional[int] = option(None, "epoch of the checkpoint, instead of its name", minimum=0)  # noqa: UP045
    image_input: Optional[str] = option(None, "picture, or folder of pictures (png, jpg, webp; recursive)")  # noqa: UP045
    planes_input: Optional[str] = option(  # noqa: UP045
        None, "triplane file of fit.triplane or export_planes, instead of model_name and image_input"
    )
    export_video: bool = option(False, "write the turntable video")
    export_mesh: bool = option(False, "write the mesh")
    export_depth: bool = option(False, "write a video of the depth (near is white)")
    export_mask: bool = option(False, "write a video of the opacity")
    export_planes: bool = option(False, "write the triplane and its decoder")
    source_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the encoder's input; what the model was made for without it", minimum=16
    )
    background: str = option(
        "keep",
        "how the object is cut out; auto: by its transparency, else by rembg, else by colour",
        choices=["auto", "keep", "plain", "rembg"],
    )
    recentre: bool = option(False, "centre and scale the object, if it is cut out")
    source_cam_dist: float = option(2.0, "distance of the source camera", minimum=0.1, maximum=100)
    render_size: int = option(192, "side in pixels of a frame", minimum=8, maximum=4096)
    render_views: int = option(160, "frames of the turntable", minimum=1)
    render_fps: int = option(40, "frames per second", minimum=1, maximum=240)
    frame_size: int = option(2, "frames rendered in one call", minimum=1)
    video_format: str = option(
        "mp4", "kind of video; png is a folder of frames", choices=["mp4", "mov", "gif", "webm", "png"]
    )
    mesh_format: str = option("ply", "kind of mesh file", choices=["ply", "obj", "glb", "stl"])
    video_dump: Optional[str] = option(None, "folder for videos; dumps/<model>/videos without it")  # noqa: UP045
    mesh_dump: Optional[str] = option(None, "folder for meshes; dumps/<model>/meshes without it")  # noqa: UP045
    planes_dump: Optional[str] = option(None, "folder for triplanes; dumps/<model>/planes without it")  # noqa: UP045
    skip_existing: bool = option(False, "leave out what is on disk already: go on after an interruption")
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    renderer: str = option(
        "auto",
        "host: compiled loops on the CPU; device: MindSpore's kernels; auto: what is faster here",
        choices=["auto", "host", "device"],
    )
    mode: int = option(1, "1 PyNative, 0 graph (compiles first, then runs faster)", choices=[0, 1])
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
    dry_run: bool = option(False, "print the config, the model's size and the files that would be written, and stop")


@dataclass
class InferLRMConfig(MeshOptions, _InferOptions):
    """Options of `infer.lrm`, names as PyTorch OpenLRM has them; fields of the last base come first."""


class InferLRM(Runner):
    """Reconstruct every picture and write what was asked for."""

    Config = InferLRMConfig
    summary = "Reconstruct objects from single pictures: turntable video and coloured mesh."
    examples = (
        "python -m openlrm.launch infer.lrm --infer configs/infer-s.yaml model_name=zxhezexin/openlrm-obj-small-1.1 "
        "image_input=assets/sample_input export_video=true export_mesh=true",
        "python -m openlrm.launch infer.lrm planes_input=outputs/fit/cup.safetensors export_mesh=true mesh_format=glb",
    )

    world: World

    def run(self) -> int:
        """Write the outputs; the exit code is 2 when one of several pictures failed.

        Under msrun every worker takes its share of the pictures.
        """
        cfg = self.config
        setup_logging(cfg.logger)
        self._check()
        from openlrm.ops import setup_device
        from openlrm.parallel import setup_world

        device = setup_device(cfg.device_target, cfg.mode)
        self.world = setup_world()
        found = "asked for" if cfg.device_target else "chosen: the best there is"
        logger.info("device %s (%s), mode %d (%s)", device, found, cfg.mode, "graph" if cfg.mode == 0 else "PyNative")
        if cfg.planes_input:
            return self._run_planes() if self.world.leads else 0
        return self._run_images()

    def _check(self) -> None:
        cfg = self.config
        if not (cfg.export_video or cfg.export_mesh or cfg.export_depth or cfg.export_mask or cfg.export_planes):
            raise UserError("nothing to write", hint="add export_video=true and/or export_mesh=true")
        if cfg.export_mesh:
            check_mesh_request(f"mesh.{cfg.mesh_format}", cfg.mesh_faces, cfg.mesh_texture)
        replaced = [cfg.model_name, cfg.model_ckpt, cfg.epoch, cfg.image_input]
        if cfg.planes_input and any(value is not None for value in replaced):
            raise UserError("planes_input replaces model_name and image_input", hint="give one or the other")
        for key in () if cfg.planes_input else ("model_name", "image_input"):
            if getattr(cfg, key) is None:
                raise UserError(f"{key} is missing", hint=f"add {key}=...; --help says what it can be")

    def _run_planes(self) -> int:
        from openlrm.checkpoint import load_triplane
        from openlrm.inference.scene import Scene

        path = Path(self.config.planes_input)
        targets = self._targets(path.resolve().parent.name or "planes", path.stem)
        self._check_targets([targets])
        planes, synthesizer = load_triplane(path)
        if self.config.dry_run:
            return self._tell([f"triplane {path}: {' x '.join(map(str, planes.shape[1:]))}"], [targets])
        self._export(Scene(planes, synthesizer, self.config.renderer), targets)
        return 0

    def _tell(self, facts: list[str], targets: list[dict[str, Path]]) -> int:
        """What `dry_run` prints instead of doing it."""
        print_config(self.config)
        print_facts([*facts, *output_facts(path for files in targets for path in files.values())])
        return 0

    def _run_images(self) -> int:
        from openlrm.checkpoint import locate_model
        from openlrm.inference.reconstruct import Reconstructor

        cfg = self.config
        images = list_images(cfg.image_input)
        located = locate_model(cfg.model_name, cfg.model_ckpt, cfg.epoch)
        names = unique_output_names(images, cfg.image_input)
        self._check_targets([self._targets(located.name, uid) for uid in names])
        reconstructor = Reconstructor.load(located, cfg.source_size)
        logger.info("model %s, weights %s", located.name, located.weights)
        if cfg.dry_run:
            return self._tell(
                [model_fact(located, reconstructor.model)], [self._targets(located.name, uid) for uid in names]
            )
        errors = []
        for image, uid in self.world.share(list(zip(images, names, strict=True))):
            targets = self._targets(located.name, uid)
            if not targets:
                logger.info("%s: already done", image)
                continue
            try:
                self._export(self._reconstruct(reconstructor, image), targets)
            except UserError as error:
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

    def _reconstruct(self, reconstructor: Reconstructor, image: Path) -> Scene:
        from openlrm.preprocess import border_ratio_at, prepare_picture

        cfg = self.config
        margin = border_ratio_at(cfg.source_cam_dist)
        picture = prepare_picture(image, cfg.background, cfg.recentre, margin).pixels
        return reconstructor(picture, cfg.source_cam_dist, cfg.renderer, name=image)

    def _targets(self, model: str, uid: str) -> dict[str, Path]:
        """What to write, by kind, without what is there already if that is to be skipped."""
        cfg = self.config
        videos = Path(cfg.video_dump or f"dumps/{model}/videos")
        meshes = Path(cfg.mesh_dump or f"dumps/{model}/meshes")
        planes = Path(cfg.planes_dump or f"dumps/{model}/planes")
        targets = {}
        for kind, wanted in (
            ("rgb", cfg.export_video),
            ("depth", cfg.export_depth),
            ("mask", cfg.export_mask),
        ):
            if wanted:
                targets[kind] = videos / f"{uid}{'' if kind == 'rgb' else '_' + kind}.{cfg.video_format}"
        if cfg.export_mesh:
            targets["mesh"] = meshes / f"{uid}.{cfg.mesh_format}"
        if cfg.export_planes:
            targets["planes"] = planes / f"{uid}.safetensors"
        if cfg.skip_existing:
            return {kind: path for kind, path in targets.items() if not _is_there(path)}
        return targets

    def _export(self, scene: Scene, targets: dict[str, Path]) -> None:
        from openlrm.checkpoint import save_triplane
        from openlrm.inference.export import export_mesh, export_videos

        cfg = self.config
        if "planes" in targets:
            save_triplane(targets["planes"], scene.planes, scene.synthesizer)
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
            vertices, faces = export_mesh(scene, targets["mesh"], **cfg.mesh_arguments())
            logger.info("wrote %s: %d vertices, %d faces", targets["mesh"], vertices, faces)


def _is_there(path: Path) -> bool:
    """A video of kind png is the folder of its name."""
    return path.is_file() or (path.suffix == ".png" and path.with_suffix("").is_dir())
