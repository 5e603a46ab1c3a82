"""Constructor arguments of an LRM: exactly what `config.json` of a released model carries."""

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SIZE
from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.nn.encoders import EncoderSpec

MAX_SAMPLES = 4096
MAX_WEIGHTS = 10**11
"""Larger models are refused before anything is allocated."""


@dataclass
class LRMConfig:
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
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or not 1 <= value <= MAX_SIZE):
                raise UserError(f"{field.name}={value!r} is not a positive whole number to {MAX_SIZE}", "model config")
            if field.type is str and not isinstance(value, str):
                raise UserError(f"{field.name}={value!r} is not a name", "model config")
            if field.type is bool and not isinstance(value, bool):
                raise UserError(f"{field.name}={value!r} is not true or false", "model config")
        if self.source_views is not None and (type(self.source_views) is not int or not 2 <= self.source_views <= 64):
            raise UserError(f"source_views={self.source_views!r} is not a whole number from 2 to 64", "model config")
        if self.triplane_high_res != 2 * self.triplane_low_res:
            raise UserError(
                f"triplane_high_res={self.triplane_high_res} is not twice triplane_low_res={self.triplane_low_res}",
                "model config",
            )
        if self.transformer_dim % self.transformer_heads:
            raise UserError(
                f"transformer_heads={self.transformer_heads} does not divide transformer_dim={self.transformer_dim}",
                "model config",
            )
        if self.rendering_samples_per_ray % 2 or not 8 <= self.rendering_samples_per_ray <= MAX_SAMPLES:
            raise UserError(
                f"rendering_samples_per_ray={self.rendering_samples_per_ray} is not an even number from 8 "
                f"to {MAX_SAMPLES}",
                "model config",
            )

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

    def check_size(self, there: int | None = None) -> None:
        """Refuse a model that is too large to be meant, before anything is allocated.

        Args:
            there: entries of the weights that are to be loaded, if any are.

        Raises:
            UserError: the model has more than `MAX_WEIGHTS`, or far more than there are.
        """
        # Somewhat more is left to those who compare names and shapes: they can say which.
        if self.weights > min(MAX_WEIGHTS, MAX_WEIGHTS if there is None else 2 * there + 10**6):
            what = f"the model config describes {self.weights:.3g} weights"
            what += "" if there is None else f", the checkpoint holds {there:.3g}"
            raise UserError(what, "model config", "check that config.json and the weights belong together")

    @classmethod
    def from_dict(cls, values: dict, where: str | None = None) -> "LRMConfig":
        """Build from a mapping such as a config.json; unknown and missing keys are errors.

        Raises:
            UserError: naming `where` (a file) and the keys.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f"unknown keys in the model config: {', '.join(unknown)}", where)
        try:
            return cls(**values)
        except TypeError as error:
            required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
            missing = sorted(set(required) - set(values))
            raise UserError(f"the model config lacks: {', '.join(missing)}", where) from error
