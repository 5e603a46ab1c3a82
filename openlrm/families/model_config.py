"""What the configs of models with a triplane share: rules between fields, and reading them from a config.json."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from openlrm.config.schema import MAX_SIZE
from openlrm.errors import UserError

MAX_SAMPLES = 4096
MAX_WEIGHTS = 10**11
"""Larger models are refused before anything is allocated."""


class TriplaneModelConfig:
    """Base of a dataclass of sizes: keys of config.json and options `model.*` of the family's training.

    Attributes:
        rendering_samples_per_ray: samples on a ray.
        transformer_dim: token width.
        transformer_heads: attention heads.
        triplane_low_res: side of the planes in tokens.
        triplane_high_res: side of the planes in texels.
    """

    rendering_samples_per_ray: int
    transformer_dim: int
    transformer_heads: int
    triplane_low_res: int
    triplane_high_res: int

    def __post_init__(self) -> None:
        """Check the rules between fields; UserError names the one that is broken."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or not 1 <= value <= MAX_SIZE):
                raise UserError(f"{field.name}={value!r} is not a positive whole number to {MAX_SIZE}", "model config")
            if field.type is str and not isinstance(value, str):
                raise UserError(f"{field.name}={value!r} is not a name", "model config")
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
        if self.rendering_samples_per_ray % 2 or not 8 <= self.rendering_samples_per_ray <= MAX_SAMPLES:
            raise UserError(
                f"rendering_samples_per_ray={self.rendering_samples_per_ray} is not an even number from 8 "
                f"to {MAX_SAMPLES}",
                "model config",
            )

    @property
    def weights(self) -> int:
        """Entries of the matrices: a little less than the parameters."""
        raise NotImplementedError

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
    def from_dict(cls, values: dict[str, Any], where: str | None = None) -> TriplaneModelConfig:
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
