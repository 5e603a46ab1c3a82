"""Constructor arguments of an LRM: exactly what `config.json` of a released model carries."""

from dataclasses import dataclass, fields

from openlrm.errors import UserError


@dataclass
class LRMConfig:
    """Sizes of an LRM.

    Attributes:
        camera_embed_dim: width of the camera embedding.
        rendering_samples_per_ray: samples on a ray, half coarse and half fine; even, at least 8.
        transformer_dim: token width.
        transformer_layers: number of layers.
        transformer_heads: attention heads; divides transformer_dim.
        triplane_low_res: side of the planes in tokens.
        triplane_high_res: side of the planes after upsampling; twice the low one.
        triplane_dim: channels of a plane.
        encoder_freeze: whether the encoder is kept from training.
        encoder_type: "dinov2" or "dino".
        encoder_model_name: name in `openlrm.models.encoders.ENCODERS`.
        encoder_feat_dim: token width of the encoder.
        encoder: sizes of an encoder that is in no table (see `EncoderSpec`), or None.
    """

    camera_embed_dim: int
    rendering_samples_per_ray: int
    transformer_dim: int
    transformer_layers: int
    transformer_heads: int
    triplane_low_res: int
    triplane_high_res: int
    triplane_dim: int
    encoder_freeze: bool = True
    encoder_type: str = "dinov2"
    encoder_model_name: str = "dinov2_vitb14_reg"
    encoder_feat_dim: int = 768
    encoder: dict | None = None

    def __post_init__(self):
        """Check the rules between fields; UserError names the one that is broken."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UserError(f"{field.name}={value!r} is not a positive whole number", "model config")
            if field.type is bool and not isinstance(value, bool):
                raise UserError(f"{field.name}={value!r} is not true or false", "model config")
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
        if self.rendering_samples_per_ray % 2 or self.rendering_samples_per_ray < 8:
            raise UserError(
                f"rendering_samples_per_ray={self.rendering_samples_per_ray} is not an even number from 8",
                "model config",
            )

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
            required = {f.name for f in fields(cls)} - {
                "encoder_freeze",
                "encoder_type",
                "encoder_model_name",
            }
            missing = sorted(required - {"encoder_feat_dim", "encoder"} - set(values))
            raise UserError(f"the model config lacks: {', '.join(missing)}", where) from error
