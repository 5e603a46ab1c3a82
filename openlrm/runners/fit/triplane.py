"""`fit.triplane`: posed views of one object -> a fitted triplane, its turntable and its mesh."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.errors import UserError
from openlrm.inference.mesh_options import MeshOptions, check_mesh_request
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging
from openlrm.utils.paths import atomic_path, check_output

if TYPE_CHECKING:
    import numpy as np

    from openlrm.inference.scene import Scene
    from openlrm.training.triplane_fit import FitLoss, PosedViews

logger = get_logger(__name__)


@dataclass
class _FitOptions:
    data_root: str = option(help="folder of objects in the Objaverse layout (see openlrm.datasets.objaverse)")
    uid: str = option(help="the object, a folder of data_root")
    model_name: Optional[str] = option(None, "start from this model's prediction for view 0")  # noqa: UP045
    source_size: int = option(224, "side in pixels of the model's input", minimum=16)
    planes_input: Optional[str] = option(None, "start from this triplane file: go on with an earlier fit")  # noqa: UP045
    triplane_dim: int = option(32, "channels of a plane (random start)", minimum=1, maximum=256)
    triplane_res: int = option(64, "side in texels of a plane (random start)", minimum=4, maximum=1024)
    samples_per_ray: int = option(64, "samples on a ray, half coarse and half fine (random start)", minimum=8)
    steps: int = option(1000, "optimisation steps", minimum=1)
    region_size: int = option(8, "side in pixels of the region rendered of every view in a step", minimum=1)
    plane_rate: float = option(0.05, "first learning rate of the planes", minimum=0)
    decoder_rate: float = option(0.01, "first learning rate of the decoder", minimum=0)
    mask_weight: float = option(0.05, "weight of the cross-entropy of opacity and alpha", minimum=0)
    tv_weight: float = option(0.002, "weight of the planes' total variation", minimum=0)
    kept_views: int = option(8, "views, evenly spread, that are not fitted to and measure the result", minimum=0)
    seed: int = option(0, "of the start and of every draw", minimum=0, maximum=MAX_SEED)
    output: Optional[str] = option(None, "folder of the results; outputs/fit/<uid> without it")  # noqa: UP045
    export_video: bool = option(False, "write the turntable video")
    export_mesh: bool = option(False, "write the mesh")
    render_size: int = option(192, "side in pixels of a frame of the video", minimum=8, maximum=4096)
    render_views: int = option(160, "frames of the turntable", minimum=1)
    render_fps: int = option(40, "frames per second", minimum=1, maximum=240)
    video_format: str = option("mp4", "kind of video", choices=["mp4", "mov", "gif", "webm", "png"])
    mesh_format: str = option("glb", "kind of mesh file", choices=["ply", "obj", "glb", "stl"])
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    mode: int = option(1, "1 PyNative, 0 graph", choices=[0, 1])
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


@dataclass
class FitTriplaneConfig(MeshOptions, _FitOptions):
    """Options of `fit.triplane`; fields of the last base come first."""


class FitTriplane(Runner):
    """Optimise planes and decoder, measure them on the views kept back, write what was asked for."""

    Config = FitTriplaneConfig
    summary = (
        "Fit a triplane and its decoder to posed views of one object: the best any LRM could do with them. "
        "Writes planes.safetensors (for infer.lrm planes_input=...), metrics.json, and video and mesh if asked."
    )
    examples = (
        "python -m openlrm.launch fit.triplane --config configs/fit-sample.yaml",
        "python -m openlrm.launch fit.triplane data_root=assets/sample_object uid=food_dinner "
        "export_video=true export_mesh=true",
    )

    def run(self) -> int:
        """Fit; an interruption keeps what is reached (exit code 130) for planes_input to go on from."""
        cfg = self.config
        setup_logging(cfg.logger)
        if cfg.model_name and cfg.planes_input:
            raise UserError("model_name and planes_input are two different starts", hint="give one of them")
        if cfg.export_mesh:
            check_mesh_request(f"{cfg.uid}.{cfg.mesh_format}", cfg.mesh_faces, cfg.mesh_texture)
        output = Path(cfg.output or f"outputs/fit/{cfg.uid}")
        self._check_outputs(output)
        views = self._read_views()
        import numpy as np

        from openlrm.ops import setup_device

        logger.info("device %s, mode %d", setup_device(cfg.device_target, cfg.mode), cfg.mode)
        count = len(views.rgba)
        if cfg.kept_views >= count:
            raise UserError(f"kept_views={cfg.kept_views}, but the object has {count} views", cfg.uid)
        kept = np.round((np.arange(cfg.kept_views) + 0.5) * count / max(cfg.kept_views, 1)).astype(int)
        fitted = np.setdiff1d(np.arange(count), kept)
        loss = self._start(views)
        start = time.monotonic()
        finished = self._optimise(loss, views.take(fitted))
        seconds = time.monotonic() - start

        from openlrm.checkpoint import save_triplane
        from openlrm.inference.scene import Scene

        save_triplane(output / "planes.safetensors", loss.planes, loss.synthesizer)
        logger.info("wrote %s", output / "planes.safetensors")
        if not finished:
            raise KeyboardInterrupt
        scene = Scene(loss.planes.value(), loss.synthesizer)
        if cfg.kept_views:
            self._measure(scene, views.take(kept), len(fitted), seconds, output)
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

    def _read_views(self) -> PosedViews:
        import numpy as np

        from openlrm.cameras import build_render_camera, normalize_poses
        from openlrm.datasets.objaverse import read_object
        from openlrm.training.views import PosedViews

        cfg = self.config
        item = read_object(cfg.data_root, cfg.uid)
        read = [item.read_view(index) for index in range(len(item))]
        if len(sizes := {view.shape[:2] for view, _ in read}) > 1:
            listed = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
            raise UserError(f"views of one object are of several sizes: {listed}", item.folder, "render them alike")
        rgba, poses = (np.stack(parts) for parts in zip(*read, strict=True))
        if rgba.shape[1] != rgba.shape[2]:
            raise UserError(f"the views are {rgba.shape[2]} x {rgba.shape[1]}, not square", str(item.folder))
        if cfg.region_size > rgba.shape[1]:
            raise UserError(
                f"region_size={cfg.region_size} is larger than the views ({rgba.shape[1]})", str(item.folder)
            )
        if cfg.model_name:
            # A model predicts in the frame where view 0 is the default source camera.
            poses = normalize_poses(poses)
        return PosedViews(rgba, build_render_camera(poses, item.intrinsics))

    def _start(self, views: PosedViews) -> FitLoss:
        import mindspore as ms

        from openlrm.checkpoint import load_triplane
        from openlrm.models.rendering import TriplaneSynthesizer
        from openlrm.training.triplane_fit import FitLoss, random_planes

        cfg = self.config
        ms.set_seed(cfg.seed)
        if cfg.planes_input:
            planes, synthesizer = load_triplane(cfg.planes_input)
        elif cfg.model_name:
            planes, synthesizer = self._predict(views)
        else:
            planes = random_planes(cfg.triplane_dim, cfg.triplane_res, scale=0.3, seed=cfg.seed)
            synthesizer = TriplaneSynthesizer(cfg.triplane_dim, cfg.samples_per_ray)
        return FitLoss(planes, synthesizer, cfg.region_size, cfg.mask_weight, cfg.tv_weight)

    def _predict(self, views: PosedViews) -> tuple:
        import numpy as np
        from mindspore import Tensor

        from openlrm.datasets.objaverse import blend
        from openlrm.models import ModelLRM
        from openlrm.utils.images import resize_bicubic

        model = ModelLRM.from_pretrained(self.config.model_name)
        picture = resize_bicubic(blend(views.rgba[0], 1.0).transpose(2, 0, 1), self.config.source_size)
        record = views.cameras[0]
        source = np.concatenate([record[:12], record[[16, 20, 18, 21]]])[None]
        image = Tensor(np.ascontiguousarray(np.clip(picture, 0, 1)[None], np.float32))
        return model.forward_planes(image, Tensor(source.astype(np.float32))), model.synthesizer

    def _optimise(self, loss: FitLoss, views: PosedViews) -> bool:
        """Run the steps; whether they were all done."""
        import numpy as np
        from tqdm import tqdm

        from openlrm.training.triplane_fit import TriplaneFit

        cfg = self.config
        fit = TriplaneFit(loss, views, cfg.steps, cfg.plane_rate, cfg.decoder_rate, cfg.seed)
        bar = tqdm(fit.run(), total=cfg.steps, desc="fit", unit="step")
        recent = None
        try:
            for total, colour in bar:
                if not np.isfinite(total):
                    raise UserError("the loss is not finite", cfg.uid, "lower plane_rate and decoder_rate")
                recent = colour if recent is None else 0.95 * recent + 0.05 * colour
                bar.set_postfix(loss=f"{total:.4f}", psnr=f"{-10 * np.log10(recent):.1f}", refresh=False)
        except KeyboardInterrupt:
            bar.close()
            logger.warning("interrupted: what is reached is kept; go on with planes_input=<the file below>")
            return False
        return True

    def _measure(self, scene: Scene, views: PosedViews, fitted: int, seconds: float, output: Path) -> None:
        """PSNR and SSIM of the kept views, on white, into metrics.json and comparison.png."""
        import numpy as np

        from openlrm.datasets.objaverse import blend
        from openlrm.metrics import psnr, ssim
        from openlrm.utils.images import save_image

        truth = blend(views.rgba, 1.0).transpose(0, 3, 1, 2)
        shown = np.stack([view.rgb for view in scene.views(views.cameras, truth.shape[2])]).transpose(0, 3, 1, 2)
        mask = views.rgba[..., 3] > 0.5
        per_view = [float(psnr(a, b)) for a, b in zip(shown, truth, strict=True)]
        result = {
            "uid": self.config.uid,
            "views_fitted": fitted,
            "views_kept": len(truth),
            "steps": self.config.steps,
            "seconds": round(seconds, 1),
            "psnr": float(np.mean(per_view)),
            "psnr_worst_view": min(per_view),
            "psnr_object_pixels": _object_psnr(shown, truth, mask),
            "ssim": float(np.mean([ssim(a, b) for a, b in zip(shown, truth, strict=True)])),
        }
        with atomic_path(output / "metrics.json") as temporary:
            Path(temporary).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        sheet = np.concatenate([np.concatenate([a, b], axis=1) for a, b in zip(truth, shown, strict=True)], axis=2)
        save_image(output / "comparison.png", sheet.transpose(1, 2, 0))
        logger.info(
            "%d kept views: PSNR %.2f dB (object's pixels %.2f), SSIM %.3f; wrote %s and comparison.png",
            len(truth),
            result["psnr"],
            result["psnr_object_pixels"],
            result["ssim"],
            output / "metrics.json",
        )

    def _export(self, scene: Scene, output: Path) -> None:
        from openlrm.inference.export import export_mesh, export_videos

        cfg = self.config
        if cfg.export_video:
            path = output / f"{cfg.uid}.{cfg.video_format}"
            written = export_videos(scene, {"rgb": path}, cfg.render_views, cfg.render_size, cfg.render_fps)
            logger.info("wrote %s", written[0])
        if cfg.export_mesh:
            path = output / f"{cfg.uid}.{cfg.mesh_format}"
            vertices, faces = export_mesh(scene, path, **cfg.mesh_arguments())
            logger.info("wrote %s: %d vertices, %d faces", path, vertices, faces)


def _object_psnr(shown: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """PSNR over the object's pixels of all views: (V, 3, H, W) twice, (V, H, W)."""
    import numpy as np

    error = ((shown - truth) ** 2).transpose(0, 2, 3, 1)[mask]
    return float(-10 * np.log10(error.mean()))
