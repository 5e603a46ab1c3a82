"""Options of `eval.lrm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.utils.logging import LEVELS


@dataclass
class EvalConfig:
    """Options of `eval.lrm`."""

    model_path: str = option(help="run folder, release folder, .ckpt file or hub id of the model")
    protocol: str = option(
        "lrm-own", "named protocol that fixes options: lrm-own, zeroshape-bf, or a YAML file; see docs/training.md"
    )
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    ckpt_name: Optional[str] = option(None, "checkpoint of the run folder; the newest without it")  # noqa: UP045
    adapter: Optional[str] = option(None, "folder of a LoRA (adapter_config.json) to put onto the model")  # noqa: UP045
    output_path: Optional[str] = option(  # noqa: UP045
        None, "results go to OUTPUT_PATH/e<epoch>, or OUTPUT_PATH/release; outputs/eval/<model> without it"
    )
    data_root: Optional[str] = option(  # noqa: UP045
        None, "folder of objects in the Objaverse layout; that of the training without it"
    )
    uids: list[str] = option([], "objects to evaluate, such as a,b; all of meta.json without these and uid_file")
    uid_file: Optional[str] = option(None, "file that names them: a JSON list, or one a line")  # noqa: UP045
    source_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the model's input; that of the training without it", minimum=16
    )
    render_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the views; as stored without it", minimum=8, maximum=4096
    )
    background: float = option(1.0, "grey level behind the object", minimum=0, maximum=1)
    count_input_view: bool = option(False, "let the input view count in the figures shown first; both are written")
    normalize_camera: Optional[bool] = option(  # noqa: UP045
        None, "turn every object so that view 0 is the canonical camera; as in the training without it"
    )
    normed_dist_to_center: Optional[str] = option(  # noqa: UP045
        None, "distance of that camera, or auto: its own; as in the training without it"
    )
    lpips_backbone: str = option(
        "auto", "VGG16 .safetensors file or hub id; none to leave LPIPS out; auto: the hub's, or none where it fails"
    )
    mean_of: Optional[str] = option(  # noqa: UP045
        None, "file that names training objects in the same folders: their mean becomes a second baseline"
    )
    mesh_root: Optional[str] = option(  # noqa: UP045
        None, "folder of true meshes <uid>.glb|gltf|ply|obj|stl: adds Chamfer distance and F-score"
    )
    mesh_up: str = option(
        "auto", "axis that points up in them; auto: y in glTF and obj, z else", choices=["auto", "y", "z"]
    )
    mesh_size: int = option(384, "grid points along a side", minimum=8, maximum=1024)
    mesh_thres: float = option(3.0, "density at the surface", minimum=1e-6, maximum=1e6)
    mesh_points: int = option(30000, "points sampled on a mesh", minimum=100)
    mesh_alignment: str = option(
        "box",
        "how meshes are brought together: box by their bounding boxes; search by trying rotations, see zeroshape-bf",
        choices=["box", "search"],
    )
    f_score_thresholds: list[float] = option(
        [0.05, 0.1, 0.2],
        "distances of the F-score; 2 is the longest side of a mesh, with search 1 the larger of width and height",
        minimum=1e-6,
    )
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    mode: int = option(1, "1 PyNative, 0 graph (compiles first, then runs faster)", choices=[0, 1])
    renderer: str = option(
        "auto",
        "host: compiled loops on the CPU; device: MindSpore's kernels; auto: what is faster here",
        choices=["auto", "host", "device"],
    )
    precision: str = option(
        "auto",
        "format of the products; auto: fp32 on a CPU, bf16 on Ascend; bf16 on a CPU needs avx512_bf16 and mode=1",
        choices=["auto", "fp32", "bf16"],
    )
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
    dry_run: bool = option(False, "print the config, the model's size and the files that would be written, and stop")
