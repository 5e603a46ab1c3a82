"""Options of `train.lrm`: the shared ones, the model's and the data's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

from openlrm.config import option
from openlrm.datasets.config import DataConfig
from openlrm.training.config import RunConfig


@dataclass
class ModelOptions:
    """Sizes of the model: the keys of config.json (see `openlrm.models.lrm.LRMConfig`)."""

    camera_embed_dim: int = option(help="width of the camera embedding", minimum=1)
    rendering_samples_per_ray: int = option(help="samples on a ray, half coarse and half fine", minimum=8)
    transformer_dim: int = option(help="token width", minimum=1)
    transformer_layers: int = option(help="layers", minimum=1)
    transformer_heads: int = option(help="attention heads; divides transformer_dim", minimum=1)
    triplane_low_res: int = option(help="side of the planes in tokens", minimum=1)
    triplane_high_res: int = option(help="side of the planes in texels; twice the low one", minimum=2)
    triplane_dim: int = option(help="channels of a plane", minimum=1)
    encoder_freeze: bool = option(False, "keep the encoder as it is")
    encoder_type: str = option("dinov2", "kind of encoder", choices=["dinov2", "dino"])
    encoder_model_name: str = option("dinov2_vitb14_reg", "which one")
    encoder_feat_dim: int = option(768, "its token width", minimum=1)
    encoder: Optional[dict[str, Any]] = option(None, "sizes of an encoder that has no name")  # noqa: UP045

    def values(self) -> dict[str, Any]:
        """Arguments of the model, without an encoder that is not written out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(kw_only=True)
class TrainLRMConfig(RunConfig):
    """Options of `train.lrm`."""

    model: ModelOptions = option(help="sizes of the model")
    data: DataConfig = option(help="training data")
