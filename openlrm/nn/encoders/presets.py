"""Sizes of the encoders a model can name, by `encoder_type` and `encoder_model_name`."""

from dataclasses import dataclass, fields

from openlrm.config.schema import MAX_SIZE
from openlrm.errors import UserError


@dataclass(frozen=True)
class EncoderSpec:
    """A Vision Transformer.

    Attributes:
        img_size: side in pixels that the position table is made for.
        patch_size: side of a patch in pixels.
        embed_dim: token width.
        depth: number of blocks.
        num_heads: attention heads.
        num_register_tokens: register tokens between class token and patches (Darcet et al., 2023).
        layer_scale: whether blocks scale their branches (`ls1`, `ls2`).
        ffn_layer: "mlp" or "swiglufused" (ViT-g).
        antialias: whether a shrunk position table is antialiased.
        eps: epsilon of the LayerNorms.
        normalise: whether the image gets ImageNet's mean and standard deviation (DINO); DINOv2 here gets it as is.
        interpolate_offset: added to the side of the patch grid when a position table is resized to it: the step is
            then a little less than the ratio of the sides.
        modulation: whether the blocks' norms are modulated by a camera embedding as wide as the tokens.
    """

    img_size: int = 518
    patch_size: int = 14
    embed_dim: int = 384
    depth: int = 12
    num_heads: int = 6
    num_register_tokens: int = 4
    layer_scale: bool = True
    ffn_layer: str = "mlp"
    antialias: bool = True
    eps: float = 1e-6
    normalise: bool = False
    interpolate_offset: float = 0.0
    modulation: bool = False

    @property
    def weights(self) -> int:
        """Entries of the matrices: a little less than the parameters."""
        blocks = (16 if self.modulation else 12) * self.depth * self.embed_dim**2
        return blocks + self.embed_dim * (3 * self.patch_size**2 + (self.img_size // self.patch_size) ** 2)


ENCODERS = {
    "dinov2": {
        "dinov2_vits14_reg": EncoderSpec(embed_dim=384, num_heads=6),
        "dinov2_vitb14_reg": EncoderSpec(embed_dim=768, num_heads=12),
        "dinov2_vitl14_reg": EncoderSpec(embed_dim=1024, depth=24, num_heads=16),
        "dinov2_vitg14_reg": EncoderSpec(embed_dim=1536, depth=40, num_heads=24, ffn_layer="swiglufused"),
    },
    "dino": {
        "facebook/dino-vitb16": EncoderSpec(
            img_size=224,
            patch_size=16,
            embed_dim=768,
            num_heads=12,
            num_register_tokens=0,
            layer_scale=False,
            antialias=False,
            eps=1e-12,
            normalise=True,
        ),
    },
}

_FFN_LAYERS = ("mlp", "swiglufused")

# Keys of a written-out encoder (config.json "encoder") that say what every encoder here does anyway.
_FIXED = {"mlp_ratio": 4, "block_chunks": 0}


def encoder_spec(encoder_type: str, model_name: str, feature_dim: int, custom: dict | None = None) -> EncoderSpec:
    """Look up an encoder's sizes.

    Args:
        encoder_type: "dinov2" or "dino".
        model_name: a name of `ENCODERS[encoder_type]`; any name when `custom` is given.
        feature_dim: the token width the model's config states, checked against the encoder's.
        custom: sizes written out, as `encoder` in config.json, for encoders that are in no table.

    Raises:
        UserError: unknown type or name, an unsupported custom key, or a width that disagrees.
    """
    if encoder_type not in ENCODERS:
        raise UserError(f"unknown encoder_type '{encoder_type}'", hint=f"use one of: {', '.join(ENCODERS)}")
    if custom is not None:
        spec = _custom_spec(custom)
    elif model_name in ENCODERS[encoder_type]:
        spec = ENCODERS[encoder_type][model_name]
    else:
        raise UserError(
            f"unknown encoder_model_name '{model_name}' of type {encoder_type}",
            hint=f"use one of: {', '.join(ENCODERS[encoder_type])}",
        )
    if spec.embed_dim != feature_dim:
        raise UserError(f"encoder_feat_dim={feature_dim}, but encoder {model_name} is {spec.embed_dim} wide")
    return spec


def _custom_spec(custom: dict) -> EncoderSpec:
    if not isinstance(custom, dict):
        raise UserError(f"encoder={custom!r} is not an object of sizes")
    known = {f.name for f in fields(EncoderSpec)}
    values = {}
    for key, value in custom.items():
        if key in _FIXED:
            if value != _FIXED[key]:
                raise UserError(f"encoder.{key}={value} is not supported", hint=f"only {_FIXED[key]} is")
        elif key == "interpolate_antialias":
            values["antialias"] = bool(value)
        elif key == "init_values":
            values["layer_scale"] = bool(value)
        elif key in known:
            values[key] = value
        else:
            raise UserError(f"unknown key encoder.{key}", hint=f"known: {', '.join(sorted(known))}")
    spec = EncoderSpec(**values)
    _check(spec)
    return spec


def _check(spec: EncoderSpec) -> None:
    for field in fields(spec):
        value, least = getattr(spec, field.name), 0 if field.name == "num_register_tokens" else 1
        if field.type is int and (type(value) is not int or not least <= value <= MAX_SIZE):
            raise UserError(f"encoder.{field.name}={value!r} is not a whole number from {least} to {MAX_SIZE}")
        if field.type is bool and not isinstance(value, bool):
            raise UserError(f"encoder.{field.name}={value!r} is not true or false")
    if spec.ffn_layer not in _FFN_LAYERS:
        raise UserError(
            f"encoder.ffn_layer={spec.ffn_layer!r} is unknown", hint=f"use one of: {', '.join(_FFN_LAYERS)}"
        )
    offset = spec.interpolate_offset
    if not isinstance(offset, (int, float)) or not 0 <= offset < 1:
        raise UserError(f"encoder.interpolate_offset={offset!r} is not a number from 0 to 1")
    if not isinstance(spec.eps, float) or not spec.eps > 0:
        raise UserError(f"encoder.eps={spec.eps!r} is not a positive number")
    if spec.embed_dim % spec.num_heads:
        raise UserError(f"encoder.num_heads={spec.num_heads} does not divide encoder.embed_dim={spec.embed_dim}")
