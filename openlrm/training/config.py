"""Options of a training run that belong to no model family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.datasets.config import DataConfig
from openlrm.errors import UserError
from openlrm.utils.logging import LEVELS

PIXEL_KINDS = ("mse", "l1")
MASK_KINDS = ("mse", "bce")
CUTOFF_UNITS = ("nyquist", "cycles_per_pixel")
WEIGHTS_ON = ("amplitude", "power")
AMP_LEVELS = ("O0", "O1", "O2")
DTYPES = ("fp32", "bf16", "fp16")


@dataclass
class ImageLossConfig:
    """Weights of the parts of a loss of rendered pictures; a part with weight 0 is not computed."""

    pixel_weight: float = option(1.0, "of the colour difference", minimum=0)
    pixel_kind: str = option("mse", "kind of colour difference", choices=PIXEL_KINDS)
    perceptual_weight: float = option(1.0, "of LPIPS (VGG16)", minimum=0)
    perceptual_start: int = option(0, "steps before LPIPS begins to count", minimum=0)
    perceptual_warmup: int = option(0, "steps over which its weight then rises from 0", minimum=0)
    lpips_backbone: Optional[str] = option(None, "VGG16 .safetensors file; from the hub without it")  # noqa: UP045
    mask_weight: float = option(0.0, "of opacity against alpha", minimum=0)
    mask_kind: str = option("mse", "kind of opacity difference", choices=MASK_KINDS)
    frequency_weight: float = option(
        0.0, "of the colour difference with low frequencies counted more; needs whole pictures, no crops", minimum=0
    )
    freq_weight: float = option(5.0, "factor of low frequencies in it", minimum=0)
    freq_cutoff: float = option(0.3, "where low frequencies end, in cutoff_unit", minimum=0)
    cutoff_unit: str = option(
        "nyquist", "nyquist: 1 is half a cycle per pixel; cycles_per_pixel: that is 0.5", choices=CUTOFF_UNITS
    )
    weight_on: str = option(
        "amplitude", "what freq_weight multiplies: amplitudes, or their squares", choices=WEIGHTS_ON
    )
    normalise: bool = option(False, "divide by the mean squared factor: white differences cost what they do in mse")


@dataclass
class OptimConfig:
    """Optimiser."""

    optim: str = option("adamw", "kind of optimiser", choices=["adamw"])
    start_learning_rate: float = option(4e-4, "rate after the warm-up", minimum=0, alias="lr")
    betas: list[float] = option([0.9, 0.95], "decay of the two moments, below 1", minimum=0, maximum=1, length=2)
    eps: float = option(1e-8, "added to the root of the second moment", minimum=0)
    weight_decay: float = option(0.05, "decoupled; not on biases and norms", minimum=0)
    clip_grad: bool = option(True, "limit the gradient's global norm")
    max_grad_norm: float = option(1.0, "that limit", minimum=0)

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            UserError: a moment that never forgets, whose bias cannot be corrected.
        """
        if 1 in self.betas:
            raise UserError(f"betas={self.betas} are not below 1", "optim", "such as 0.9,0.95")


@dataclass
class SchedulerConfig:
    """Learning rate over the steps."""

    scheduler: str = option(
        "cosine",
        "course after the warm-up; restarts: cosines of restart_steps steps one after another",
        choices=["cosine", "linear", "constant", "restarts"],
    )
    warmup_steps: int = option(3000, "steps of linear rise from 0", minimum=0)
    end_learning_rate: float = option(0.0, "rate of the last step, or at the end of each cosine", minimum=0)
    restart_steps: int = option(3000, "steps of a cosine of restarts", minimum=1)


@dataclass
class PrecisionConfig:
    """Number formats, see `openlrm.training.precision.Policy`."""

    amp_level: str = option(
        "O0",
        "O0 float32; O1 products and attention of encoder and transformer in half precision; O2 their weights kept so",
        choices=AMP_LEVELS,
    )
    dtype: str = option("fp32", "format of O1 and O2", choices=DTYPES)
    loss_scaler_type: str = option("dynamic", "loss scale of fp16", choices=["dynamic", "static"])
    init_loss_scale: float = option(65536.0, "first loss scale", minimum=1)
    scale_window: int = option(2000, "good steps before the scale doubles", minimum=1)


@dataclass
class TrainConfig:
    """The loop."""

    optim: OptimConfig = option(OptimConfig, "optimiser")
    scheduler: SchedulerConfig = option(SchedulerConfig, "learning rate")
    precision: PrecisionConfig = option(PrecisionConfig, "number formats")
    batch_size: int = option(1, "objects of a batch, on every worker", minimum=1)
    gradient_accumulation_steps: int = option(1, "batches of a step", minimum=1)
    epochs: int = option(60, "passes over the objects", minimum=1)
    train_steps: Optional[int] = option(None, "steps in all; takes the place of epochs", minimum=1)  # noqa: UP045
    only: list[str] = option([], "train these parameters alone: patterns of names, such as transformer.*")
    freeze: list[str] = option([], "leave these parameters as they are: patterns of names, such as encoder.*")
    overfit: int = option(0, "train on the first N objects alone, as a smoke test", minimum=0)
    use_ema: bool = option(False, "keep a moving average of the weights; checkpoints then carry it")
    ema_decay: float = option(0.9999, "of the moving average", minimum=0, maximum=1)
    max_bad_steps: int = option(10, "steps in a row with NaN or infinity before the run stops", minimum=1)


@dataclass
class ValidationConfig:
    """Fixed views rendered on white now and then."""

    val_interval: int = option(1000, "steps between validations; 0 for none", minimum=0)
    val_root: Optional[str] = option(  # noqa: UP045
        None, "folder of held-out objects: those of its meta_val.json, or of meta.json; the training folders without it"
    )
    val_uids: list[str] = option(
        [],
        "held-out objects, taken out of the training data; without these and val_root those of meta_val.json in the "
        "training folders; without that, training objects are measured",
    )
    val_overlap: bool = option(
        False, "measure objects that are trained on as well, and call the figures so, instead of refusing them"
    )
    val_objects: int = option(3, "objects measured at most", minimum=1)
    val_views: int = option(4, "views of each, evenly spread", minimum=1)
    val_size: int = option(64, "side in pixels they are rendered at", minimum=8)
    stop_drop: float = option(
        0.0, "stop when PSNR of held-out objects falls this many dB below the starting model's; 0 never", minimum=0
    )


@dataclass
class SaverConfig:
    """What a run starts from and what it leaves."""

    output_path: str = option("outputs", "run folders are made in OUTPUT_PATH/NAME/TIME")
    name: Optional[str] = option(None, "name of the run; its family's without it")  # noqa: UP045
    resume: Optional[str] = option(None, "run folder to go on with; `latest` for the newest of this name")  # noqa: UP045
    load_model: Optional[str] = option(None, "released model, run folder or checkpoint to start from")  # noqa: UP045
    load_encoder: Optional[str] = option(None, "published DINO or DINOv2 weights to start the encoder from")  # noqa: UP045
    ckpt_save_interval: int = option(1, "epochs between checkpoints; the end always has one", minimum=1)
    ckpt_save_steps: int = option(0, "steps between checkpoints inside an epoch; 0 for none", minimum=0)
    ckpt_max_keep: int = option(10, "model checkpoints kept: the recent ones, older ones ever sparser", minimum=2)


@dataclass
class ReportConfig:
    """What is told while it runs."""

    log_interval: int = option(10, "steps between log lines and TensorBoard scalars", minimum=1)
    image_interval: int = option(200, "steps between TensorBoard image grids; 0 for none", minimum=0)
    watch_interval: int = option(200, "steps between looks for a collapse; 0 for none", minimum=0)
    profile: bool = option(False, "tell the seconds of each part of a step")
    debug: bool = option(False, "stop at the first NaN, log everything")
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


@dataclass
class RunConfig:
    """What every `train.*` runner shares; a family adds its model and data."""

    train: TrainConfig = option(TrainConfig, "the loop")
    val: ValidationConfig = option(ValidationConfig, "validation")
    saver: SaverConfig = option(SaverConfig, "start and checkpoints")
    report: ReportConfig = option(ReportConfig, "messages")
    seed: int = option(42, "of every draw: weights, data, samples on rays", minimum=0, maximum=MAX_SEED)
    num_parallel_workers: int = option(1, "processes that read data", minimum=1)
    use_parallel: Optional[bool] = option(  # noqa: UP045
        None, "train on all workers that msrun started; without it whenever there are several"
    )
    parallel_mode: str = option(
        "data", "data: every worker keeps the optimiser's state; optim: a share of it", choices=["data", "optim"]
    )
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    mode: int = option(1, "1 PyNative, 0 graph", choices=[0, 1])
    dry_run: bool = option(False, "print the config, sizes, memory and time of the run, and stop; writes nothing")


@dataclass(kw_only=True)
class ObjectRunConfig(RunConfig):
    """What every family that is trained on rendered objects shares."""

    data: DataConfig = option(help="training data")
