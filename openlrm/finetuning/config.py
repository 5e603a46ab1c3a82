"""Options of `finetune.*`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.training.config import CUTOFF_UNITS, WEIGHTS_ON
from openlrm.utils.logging import LEVELS

ARMS = ("std", "freq")


@dataclass
class FinetuneOptions:
    """What all of them share; Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10."""

    model_name: Optional[str] = option(  # noqa: UP045
        None, "release folder, run folder, .ckpt file or hub id; the demonstration model without it"
    )
    data_root: str = option("assets/sample_object", "folder of objects in the layout of training data")
    train_uids: list[str] = option([], "objects tuned on; those of meta/train_uids.json, or all, without them")
    val_uids: list[str] = option([], "objects measured; those of meta/val_uids.json, or all, without them")
    allow_overlap: bool = option(False, "measure objects that are tuned on as well, and call the figures so")
    source_view: int = option(0, "view that the model is given", minimum=0)
    source_camera: str = option(
        "actual", "what the model is told of it: its own camera, or distance 2", choices=["actual", "canonical"]
    )
    render_size: int = option(64, "side in pixels of the pictures compared; 288 for the released models", minimum=8)
    num_train_views: int = option(4, "views tuned on, evenly spread", minimum=1)
    freq_weight: float = option(5.0, "factor of low frequencies in the arm freq", minimum=0, alias="low_freq_weight")
    freq_cutoff: float = option(0.3, "where low frequencies end, in cutoff_unit", minimum=0, alias="cutoff_ratio")
    cutoff_unit: str = option("nyquist", "nyquist: 1 is half a cycle per pixel", choices=CUTOFF_UNITS)
    weight_on: str = option("amplitude", "what freq_weight multiplies", choices=WEIGHTS_ON)
    normalise: bool = option(False, "divide the loss of the arm freq by the mean squared factor")
    arms: list[str] = option(list(ARMS), "losses compared: std, plain MSE; freq, frequencies weighted", choices=ARMS)
    sampling: str = option(
        "random", "object and view of a step: random, or parity: step mod their number", choices=["random", "parity"]
    )
    stop_drop: float = option(0.0, "end an arm when PSNR falls this many dB below the base model's; 0 never", minimum=0)
    val_interval: Optional[int] = option(None, "steps between measurements; max(20, steps/25) without it", minimum=1)  # noqa: UP045
    lpips_backbone: str = option("none", "VGG16 .safetensors file or hub id for LPIPS; none to leave it out")
    source_size: Optional[int] = option(None, "side in pixels of the model's input", minimum=16)  # noqa: UP045
    output: Optional[str] = option(None, "folder of the results; outputs/<runner> without it")  # noqa: UP045
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    mode: int = option(1, "1 PyNative, 0 graph", choices=[0, 1])
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
    dry_run: bool = option(False, "print the config, sizes and the time by a timed step, and stop; writes nothing")


@dataclass
class LoRAConfig(FinetuneOptions):
    """Options of `finetune.lora`."""

    rank: int = option(4, "of the adapters", minimum=1, alias="lora_rank")
    lora_alpha: Optional[float] = option(None, "strength times rank; twice the rank without it", minimum=0)  # noqa: UP045
    steps: int = option(500, "steps of an arm, one object and one view each", minimum=1, alias="num_steps")
    lr: float = option(5e-4, "learning rate, constant", minimum=0)
    weight_decay: float = option(0.01, "of A and B", minimum=0)
    seed: int = option(42, "of A, objects, views and samples; arms share them", minimum=0, maximum=MAX_SEED)


@dataclass
class FullConfig(FinetuneOptions):
    """Options of `finetune.full`."""

    steps: int = option(200, "steps of an arm, one object and one view each", minimum=1, alias="num_steps")
    lr: float = option(1e-5, "learning rate, constant", minimum=0)
    weight_decay: float = option(0.01, "of the matrices", minimum=0)
    clip: float = option(1.0, "limit of the gradient's norm", minimum=0)
    seed: int = option(42, "of objects, views and samples; arms share them", minimum=0, maximum=MAX_SEED)


@dataclass
class RanksConfig(FinetuneOptions):
    """Options of `finetune.ranks`."""

    ranks: list[int] = option([2, 4, 8, 16, 32], "of the adapters; alpha is twice the rank", minimum=1)
    seeds: list[int] = option([42, 43, 44], "each a run of every rank and loss", minimum=0)
    steps: int = option(500, "steps of a run", minimum=1, alias="num_steps")
    lr: float = option(5e-4, "learning rate, constant", minimum=0)
    weight_decay: float = option(0.01, "of A and B", minimum=0)


@dataclass
class CompareConfig:
    """Options of `finetune.compare`."""

    runs: list[str] = option(help="folders of finetune.full and finetune.lora over the same objects")
    output: str = option("outputs/finetune.compare", "folder of the sheets and the page")
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
