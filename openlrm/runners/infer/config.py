"""Options of `infer.lrm`, and the files they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.geometry.mesh_options import MeshOptions
from openlrm.runners.infer.gaussians import GaussianOutputs
from openlrm.runners.infer.views import ViewsInput
from openlrm.utils.logging import LEVELS
from openlrm.utils.paths import check_apart, list_images

DUMPS = Path("dumps")


@dataclass
class _InferOptions:
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    model_name: Optional[str] = option(None, "release folder, run folder, .ckpt file or hub id of the model")  # noqa: UP045
    model_ckpt: Optional[str] = option(None, "checkpoint of the run folder; the newest without it")  # noqa: UP045
    epoch: Optional[int] = option(None, "epoch of the checkpoint, instead of its name", minimum=0)  # noqa: UP045
    adapter: Optional[str] = option(None, "folder of a LoRA (adapter_config.json) to put onto the model")  # noqa: UP045
    image_input: Optional[str] = option(None, "picture, or folder of pictures (png, jpg, webp, ...; recursive)")  # noqa: UP045
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
        "how the object is cut out; auto: by its transparency, else by isnet or rembg, else by colour",
        choices=["auto", "keep", "plain", "rembg", "isnet"],
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
    video_dump: Optional[str] = option(None, "folder for videos; dumps/<model>[/e<epoch>]/videos without it")  # noqa: UP045
    mesh_dump: Optional[str] = option(None, "folder for meshes; dumps/<model>[/e<epoch>]/meshes without it")  # noqa: UP045
    planes_dump: Optional[str] = option(  # noqa: UP045
        None, "folder for triplanes; dumps/<model>[/e<epoch>]/planes without it"
    )
    skip_existing: bool = option(False, "leave out what is on disk already: go on after an interruption")
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    renderer: str = option(
        "auto",
        "host: compiled loops on the CPU; device: MindSpore's kernels; auto: what is faster here",
        choices=["auto", "host", "device"],
    )
    mode: int = option(1, "1 PyNative, 0 graph (compiles first, then runs faster)", choices=[0, 1])
    precision: str = option(
        "auto",
        "format of the products; auto: fp32 on a CPU, bf16 on Ascend; bf16 on a CPU needs avx512_bf16 and mode=1",
        choices=["auto", "fp32", "bf16"],
    )
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
    dry_run: bool = option(False, "print the config, the model's size and the files that would be written, and stop")


@dataclass
class InferConfig(GaussianOutputs, MeshOptions, ViewsInput, _InferOptions):
    """Options of `infer.lrm`, names as PyTorch OpenLRM has them; fields of the last base come first."""

    def check(self) -> None:
        """Refuse what contradicts itself, or asks for nothing.

        Raises:
            UserError: likewise.
        """
        wanted = [self.export_video, self.export_mesh, self.export_depth, self.export_mask, self.export_planes]
        if not any([*wanted, self.export_gaussians]):
            raise UserError("nothing to write", hint="add export_video=true and/or export_mesh=true")
        if self.export_mesh:
            self.mesh_settings().check(f"mesh.{self.mesh_format}")
        replaced = [self.model_name, self.model_ckpt, self.epoch, self.image_input, self.adapter]
        if self.planes_input and (self.views or any(value is not None for value in replaced)):
            raise UserError("planes_input replaces model_name, adapter and image_input", hint="give one or the other")
        self.check_views()
        if self.views and (self.image_input or self.recentre):
            what = "image_input" if self.image_input else "recentre"
            raise UserError(
                f"views and {what} contradict each other", hint="views are one object, as its cameras saw it"
            )
        for key in () if self.planes_input else ("model_name",) if self.views else ("model_name", "image_input"):
            if getattr(self, key) is None:
                raise UserError(f"{key} is missing", hint=f"add {key}=...; --help says what it can be")

    def images(self) -> list[Path]:
        """The pictures, results of earlier runs among them left out.

        Raises:
            UserError: none, or results that would be taken for pictures.
        """
        results = [self.video_dump or DUMPS, self.mesh_dump or DUMPS, self.planes_dump or DUMPS]
        if self.videos() and self.video_format in ("gif", "png"):
            check_apart(self.image_input, results[0])
        if self.export_mesh and self.mesh_format == "obj":
            check_apart(self.image_input, results[1])
        return list_images(self.image_input, results)

    def videos(self) -> dict[str, str]:
        """Kinds of videos asked for -> what is put behind the picture's name."""
        wanted = {"rgb": self.export_video, "depth": self.export_depth, "mask": self.export_mask}
        return {kind: "" if kind == "rgb" else f"_{kind}" for kind in wanted if wanted[kind]}

    def endings(self) -> list[str]:
        """What follows a picture's name in the names of all that is written of it."""
        suffix = "" if self.video_format == "png" else f".{self.video_format}"
        endings = [f"{tail}{suffix}" for tail in self.videos().values()]
        if self.export_mesh:
            endings += [f".{self.mesh_format}", *([".mtl", "_texture.png"] if self.mesh_format == "obj" else [])]
        endings += [f".{kind}" for kind in self.export_gaussians]
        return endings + ([".safetensors"] if self.export_planes else [])

    def targets(self, model: str | Path, uid: str) -> dict[str, Path]:
        """What to write, by kind, without what is there already if that is to be skipped."""
        videos = Path(self.video_dump or DUMPS / model / "videos")
        meshes = Path(self.mesh_dump or DUMPS / model / "meshes")
        planes = Path(self.planes_dump or DUMPS / model / "planes")
        targets = {kind: videos / f"{uid}{tail}.{self.video_format}" for kind, tail in self.videos().items()}
        if self.export_mesh:
            targets["mesh"] = meshes / f"{uid}.{self.mesh_format}"
        if self.export_planes:
            targets["planes"] = planes / f"{uid}.safetensors"
        targets |= self.gaussian_targets(DUMPS / model, uid)
        if self.skip_existing:
            return {kind: path for kind, path in targets.items() if not _is_there(path)}
        return targets


def _is_there(path: Path) -> bool:
    """A video of kind png is the folder of its name."""
    return path.is_file() or (path.suffix == ".png" and path.with_suffix("").is_dir())
