"""Options of `train.geolrm` that are a GeoLRM's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.datasets.config import DataConfig
from openlrm.errors import UserError
from openlrm.families.geolrm.config import GeoLRMConfig
from openlrm.training.config import ImageLossConfig, ObjectRunConfig, TrainConfig

PROPOSAL, RECONSTRUCTION = "proposal", "reconstruction"


@dataclass
class GaussianLossConfig(ImageLossConfig):
    """Weights of the parts of the reconstruction stage's loss; colours are compared as 2 rgb - 1."""

    pixel_weight: float = option(
        4.0, "of the colour difference: the published 1, on colours twice as far apart", minimum=0
    )
    perceptual_weight: float = option(2.0, "of LPIPS (VGG16)", minimum=0)
    mask_weight: float = option(1.0, "of opacity against alpha", minimum=0)
    depth_weight: float = option(0.2, "of depth; 0 needs no depth maps", minimum=0)
    depth_tv_weight: float = option(0.05, "of the depth's total variation; counts where depth does", minimum=0)
    depth_mask: str = option(
        "valid", "pixels whose depth counts: valid has a true depth, alpha is published", choices=["valid", "alpha"]
    )


@dataclass
class GeoLRMTrainOptions(TrainConfig):
    """The loop, and how a GeoLRM goes through it."""

    stage: str = option(PROPOSAL, "which network is trained", choices=[PROPOSAL, RECONSTRUCTION])
    loss: GaussianLossConfig = option(GaussianLossConfig, "parts of the reconstruction stage's loss")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    proposal: Optional[str] = option(  # noqa: UP045
        None, "model of the proposal stage (run folder, srl-bf16.ckpt, ...), whose network the next stage takes"
    )
    true_cells: bool = option(
        False, "reconstruction: take anchors from the true occupancy instead of the proposal network's"
    )
    anchors: int = option(4096, "anchors of an object at most, in training", minimum=1)
    fresh_head: bool = option(
        True, "start the head of a new model where Gaussians are faint and round: for training from nothing"
    )
    use_recompute: bool = option(False, "compute blocks again in the backward pass: less memory")


@dataclass(kw_only=True)
class GeoLRMDataConfig(DataConfig):
    """Training data: posed views, and where the object's surface is."""

    occupancy: Optional[str] = option(  # noqa: UP045
        None, "folder of prepare.occupancy: <uid>/pts.npy; from the depth maps, whenever an object is read, without it"
    )
    inputs: list[int] = option([1, 8], "least and greatest number of input views of a batch", minimum=1, length=2)
    normalize_camera: bool = option(False, "turn every object so that the source camera is the canonical one")
    backgrounds: list[float] = option([1.0], "grey levels that target views are put on", minimum=0, maximum=1)

    def __post_init__(self) -> None:
        """Check what no single option can; see `DataConfig`.

        Raises:
            UserError: likewise, more inputs than views, or turned cameras.
        """
        super().__post_init__()
        if not self.inputs[0] <= self.inputs[1] <= self.sample_side_views + 1:
            what = f"inputs={self.inputs} of {self.sample_side_views + 1} drawn views"
            raise UserError(what, "data", "give least and greatest number, at most sample_side_views + 1")
        if self.normalize_camera:
            raise UserError("data.normalize_camera=true would turn the object's cells", "data", "leave it out")


@dataclass(kw_only=True)
class TrainGeoLRMConfig(ObjectRunConfig):
    """Options of `train.geolrm`."""

    model: GeoLRMConfig = option(GeoLRMConfig, "sizes and switches of the model")
    data: GeoLRMDataConfig = option(help="training data")
    train: GeoLRMTrainOptions = option(GeoLRMTrainOptions, "the loop")
