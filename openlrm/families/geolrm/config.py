"""Sizes and switches of a GeoLRM, as its config.json carries them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SIZE
from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.nn.encoders import EncoderSpec

DINOV2 = {
    "facebook/dinov2-small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "facebook/dinov2-base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "facebook/dinov2-large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}
"""Encoders by name."""
WHOLE, PROPOSAL_ALONE = "both", "proposal"
MAX_WEIGHTS = 10**11


@dataclass
class ProposalConfig:
    """The network that says which cells are occupied."""

    transformer_dim: int = option(384, "token width", minimum=6)
    transformer_layers: int = option(6, "layers", minimum=1)
    transformer_heads: int = option(16, "attention heads; their width is a multiple of 6", minimum=1)
    token_res: int = option(16, "tokens a side; divides grid_size", minimum=2)
    dropout: float = option(0.1, "rate in training", minimum=0, maximum=0.9)


@dataclass
class ReconstructionConfig:
    """The network that makes Gaussians of occupied cells."""

    transformer_dim: int = option(768, "token width", minimum=6)
    transformer_layers: int = option(16, "layers", minimum=1)
    transformer_heads: int = option(16, "attention heads; their width is a multiple of 6", minimum=1)
    gs_per_token: int = option(32, "Gaussians of a cell", minimum=1)
    offset_max: float = option(0.2, "farthest a Gaussian is from its cell along an axis; the cube's side is 1")
    scale_max: float = option(0.02, "largest standard deviation of a Gaussian")
    dropout: float = option(0.0, "rate in training", minimum=0, maximum=0.9)


@dataclass
class GeoLRMConfig:
    """Sizes of a GeoLRM, as keys of config.json and as options `model.*` of `train.geolrm`."""

    serializer: ProposalConfig = option(ProposalConfig, "proposal network")
    lrm_generator: ReconstructionConfig = option(ReconstructionConfig, "reconstruction network")
    networks: str = option(WHOLE, "which networks the model has", choices=[WHOLE, PROPOSAL_ALONE])
    encoder_freeze: bool = option(False, "keep DINOv2 as it is, in both networks")
    encoder_model_name: str = option("facebook/dinov2-base", f"which one: {', '.join(DINOV2)}")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    encoder: Optional[dict[str, Any]] = option(None, "sizes of an encoder that has no name")  # noqa: UP045
    feature_dim: int = option(384, "channels of the pictures' features", minimum=1)
    num_deform_points: int = option(8, "samples of a head on each of the two maps", minimum=1)
    grid_size: int = option(128, "cells a side", minimum=4, maximum=512)
    max_seq_len: int = option(8192, "cells that become anchors at most", minimum=1)
    occupancy_threshold: float = option(0.0, "logit above which a cell is occupied")
    attention: str = option(
        "tokens",
        "tokens: the paper's; released: what the published program computes in float32; auto: whichever shows the "
        "input pictures better",
        choices=["tokens", "released", "auto"],
    )
    dca_residual: str = option(
        "normed", "normed: as the published program; raw: the paper's", choices=["normed", "raw"]
    )
    rope_scale: float = option(
        0.5, "half side of the cube of rotary positions, reconstruction network; the published program has 1"
    )
    voxels: str = option(
        "corners",
        "where cell k of G stands: corners k / (G - 1), centres (k + 0.5) / G",
        choices=["corners", "centres"],
    )
    offset: str = option(
        "one_sided",
        "where a Gaussian is from its cell: above alone, or on both sides",
        choices=["one_sided", "symmetric"],
    )
    subset: str = option("random", "which cells stay when there are too many", choices=["random", "top"])

    def __post_init__(self) -> None:
        """Check the rules between fields; UserError names the one that is broken."""
        _check_values(self, "")
        for name in ("serializer", "lrm_generator"):
            part = getattr(self, name)
            _check_values(part, f"{name}.")
            dim, heads = part.transformer_dim, part.transformer_heads
            if dim % heads or dim // heads % 6:
                what = f"{name}.transformer_heads={heads} does not make heads of a multiple of 6 of {dim}"
                raise UserError(what, "model config")
        if self.grid_size % self.serializer.token_res:
            what = f"serializer.token_res={self.serializer.token_res} does not divide grid_size={self.grid_size}"
            raise UserError(what, "model config")
        for name in ("offset_max", "scale_max"):
            if not getattr(self.lrm_generator, name) > 0:
                raise UserError(f"lrm_generator.{name} is not above 0", "model config")
        if not self.rope_scale > 0:
            raise UserError(f"rope_scale={self.rope_scale} is not above 0", "model config")

    @property
    def encoder_spec(self) -> EncoderSpec:
        """Sizes of DINOv2.

        Raises:
            UserError: there is none of that name.
        """
        from openlrm.nn.encoders import encoder_spec

        sizes = self.encoder if self.encoder is not None else DINOV2.get(self.encoder_model_name)
        if sizes is None:
            hint = f"use one of: {', '.join(DINOV2)}, or give encoder={{img_size, embed_dim, depth, num_heads}}"
            raise UserError(f"unknown encoder_model_name '{self.encoder_model_name}'", "model config", hint)
        if not isinstance(sizes, dict):
            raise UserError(f"encoder={sizes!r} is not an object of sizes", "model config")
        sizes = {"num_register_tokens": 0} | sizes
        return encoder_spec("dinov2", self.encoder_model_name, sizes.get("embed_dim", 384), sizes)

    @property
    def weights(self) -> int:
        """Entries of the matrices: a little less than the parameters."""
        encoder, features = self.encoder_spec, self.feature_dim
        each = encoder.weights + 16 * encoder.embed_dim * features + 144 * features
        parts = [self.serializer, self.lrm_generator][: 1 if self.networks == PROPOSAL_ALONE else 2]
        layers = sum(p.transformer_layers * (13 * p.transformer_dim + features) * p.transformer_dim for p in parts)
        return len(parts) * each + layers

    def check_size(self, there: int | None = None) -> None:
        """Refuse a model that is too large to be meant, before anything is allocated.

        Args:
            there: entries of the weights that are to be loaded, if any are.

        Raises:
            UserError: the model has more than MAX_WEIGHTS, or far more than there are.
        """
        if self.weights > min(MAX_WEIGHTS, MAX_WEIGHTS if there is None else 2 * there + 10**6):
            what = f"the model config describes {self.weights:.3g} weights"
            what += "" if there is None else f", the checkpoint holds {there:.3g}"
            raise UserError(what, "model config", "check that config.json and the weights belong together")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GeoLRMConfig:
        """From the contents of a config.json; what is left out is as published.

        Raises:
            UserError: an unknown key, or a value that breaks a rule.
        """
        values = dict(values)
        for name, kind in (("serializer", ProposalConfig), ("lrm_generator", ReconstructionConfig)):
            if name in values:
                values[name] = _made(kind, values[name], f"{name}.")
        return _made(cls, values, "")


def _made(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{where.rstrip('.')}={values!r} is not an object", "model config")
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(where + key for key in set(values) - set(known)):
        raise UserError(f"unknown keys in the model config: {', '.join(unknown)}", "model config")
    return kind(**values)


def _check_values(config: Any, where: str) -> None:
    """Types, ranges and choices: config.json has not gone through the options' own check."""
    for field in dataclasses.fields(config):
        value, name, rules = getattr(config, field.name), where + field.name, field.metadata
        if field.type == "int" and (type(value) is not int or not 1 <= value <= MAX_SIZE):
            raise UserError(f"{name}={value!r} is not a positive whole number to {MAX_SIZE}", "model config")
        if field.type == "float" and (type(value) not in (int, float) or not abs(value) < 1e6):
            raise UserError(f"{name}={value!r} is not a number", "model config")
        if field.type == "bool" and not isinstance(value, bool):
            raise UserError(f"{name}={value!r} is not true or false", "model config")
        if field.type == "str" and not isinstance(value, str):
            raise UserError(f"{name}={value!r} is not a name", "model config")
        if rules.get("choices") and value not in rules["choices"]:
            raise UserError(f"{name}={value!r} is not one of {', '.join(rules['choices'])}", "model config")
        for bound, wrong in (("minimum", float.__lt__), ("maximum", float.__gt__)):
            limit = rules.get(bound)
            if limit is not None and type(value) in (int, float) and wrong(float(value), float(limit)):
                raise UserError(f"{name}={value} is beyond its {bound} {limit}", "model config")
