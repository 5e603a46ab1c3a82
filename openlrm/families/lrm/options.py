"""Options of `train.lrm` that are an LRM's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.families.lrm.config import LRMConfig
from openlrm.training.config import ImageLossConfig, ObjectRunConfig, TrainConfig


@dataclass
class LossConfig(ImageLossConfig):
    """Parts of the loss: of the rendered pictures, and of the planes."""

    tv_weight: float = option(5e-4, "of the planes' total variation", minimum=0)


@dataclass
class LRMTrainOptions(TrainConfig):
    """The loop, and how an LRM goes through it."""

    loss: LossConfig = option(LossConfig, "parts of the loss")
    strong_start: bool = option(
        False, "first weights that let the input through at once: for training from nothing on few objects"
    )
    use_recompute: bool = option(False, "compute transformer layers again in the backward pass: less memory")
    features_mib: int = option(
        0, "memory for the features of a frozen encoder, MiB: each picture is encoded once; 0 keeps none", minimum=0
    )
    features_dir: Optional[str] = option(None, "folder for those features, used by later runs too")  # noqa: UP045
    deferred_region: int = option(
        0, "deferred back-propagation: side in pixels of the squares gone through one by one; 0 is off", minimum=0
    )


@dataclass
class TrainedModel(LRMConfig):
    """Sizes of a model whose encoder is trained unless it is said otherwise."""

    encoder_freeze: bool = option(False, "keep the encoder as it is")


@dataclass(kw_only=True)
class TrainLRMConfig(ObjectRunConfig):
    """Options of `train.lrm`."""

    model: TrainedModel = option(help="sizes of the model")
    train: LRMTrainOptions = option(LRMTrainOptions, "the loop")
