"""Options of `fit.triplane`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.geometry.mesh_options import MeshOptions
from openlrm.utils.logging import LEVELS

# A fit that goes on may not differ in these: its state would not fit, or the draws would be others.
FIXED = (
    "data_root",
    "uid",
    "model_name",
    "planes_input",
    "triplane_dim",
    "triplane_res",
    "samples_per_ray",
    "steps",
    "region_size",
    "plane_rate",
    "decoder_rate",
    "mask_weight",
    "tv_weight",
    "kept_views",
    "seed",
    "use_ema",
)


@dataclass
class _FitOptions:
    data_root: str = option(help="folder of objects in the Objaverse layout (see openlrm.datasets.objaverse)")
    uid: str = option(help="the object, a folder of data_root")
    model_name: Optional[str] = option(None, "start from this model's prediction for view 0")  # noqa: UP045
    source_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the model's input; what the model was made for without it", minimum=16
    )
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
    use_ema: bool = option(False, "keep a moving average of planes and decoder, which is the result then")
    ema_decay: float = option(0.99, "of the moving average", minimum=0, maximum=1)
    save_steps: int = option(200, "steps between checkpoints; an interruption makes one too", minimum=1)
    resume: bool = option(False, "go on with the fit in the folder of the results, where it stopped")
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
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    mode: int = option(1, "1 PyNative, 0 graph", choices=[0, 1])
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


@dataclass
class FitTriplaneConfig(MeshOptions, _FitOptions):
    """Options of `fit.triplane`; fields of the last base come first."""
