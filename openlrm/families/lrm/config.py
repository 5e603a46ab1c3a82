"""Constructor arguments of an LRM: exactly what `config.json` of a released model carries."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.families.model_config import TriplaneModelConfig

if TYPE_CHECKING:
    from openlrm.nn.encoders import EncoderSpec


@dataclass
class LRMConfig(TriplaneModelConfig):
    """Sizes of an LRM, as keys of config.json and as options `model.*` of `train.lrm`."""

    camera_embed_dim: int = option(help="width of the camera embedding", minimum=1)
    rendering_samples_per_ray: int = option(help="samples on a ray, half coarse and half fine; even", minimum=8)
    transformer_dim: int = option(help="token width", minimum=1)
    transformer_layers: int = option(help="layers", minimum=1)
    transformer_heads: int = option(help="attention heads; divides transformer_dim", minimum=1)
    triplane_low_res: int = option(help="side of the planes in tokens", minimum=1)
    triplane_high_res: int = option(help="side of the planes in texels; twice the low one", minimum=2)
    triplane_dim: int = option(help="channels of a plane", minimum=1)
    encoder_freeze: bool = option(True, "keep the encoder as it is")
    encoder_type: str = option("dinov2", "kind of encoder", choices=["dinov2", "dino"])
    encoder_model_name: str = option("dinov2_vitb14_reg", "which one, see openlrm.nn.encoders.ENCODERS")
    encoder_feat_dim: int = option(768, "its token width", minimum=1)
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    encoder: Optional[dict[str, Any]] = option(None, "sizes of an encoder that has no name")  # noqa: UP045
    source_views: Optional[int] = option(  # noqa: UP045
        None, "pictures of an object, each with its camera; one, as the released models have it, without it", minimum=2
    )

    def __post_init__(self):
        """Check the rules between fields; UserError names the one that is broken."""
        super().__post_init__()
        if self.source_views is not None and (type(self.source_views) is not int or not 2 <= self.source_views <= 64):
            raise UserError(f"source_views={self.source_views!r} is not a whole number from 2 to 64", "model config")

    @property
    def views(self) -> int:
        """Greatest number of source pictures of an object."""
        return self.source_views or 1

    @property
    def encoder_spec(self) -> "EncoderSpec":
        """Sizes of the encoder.

        Raises:
            UserError: there is none of that name.
        """
        from openlrm.nn.encoders import encoder_spec

        return encoder_spec(self.encoder_type, self.encoder_model_name, self.encoder_feat_dim, self.encoder)

    @property
    def weights(self) -> int:
        """Entries of the matrices: a little less than the parameters.

        Raises:
            UserError: an encoder that does not exist.
        """
        width, camera = self.transformer_dim, self.camera_embed_dim
        # Of a layer: self attention 4, cross attention 2 and those of the features, the MLP 8; three modulated norms.
        layer = 14 * width**2 + 2 * width * self.encoder_feat_dim + 6 * width * camera
        tokens, upsampler = 3 * self.triplane_low_res**2 * width, 4 * width * self.triplane_dim
        return self.encoder_spec.weights + self.transformer_layers * layer + camera**2 + tokens + upsampler
