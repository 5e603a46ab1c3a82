"""Constructor arguments of an InstantMesh: the keys of its config.json."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.families.model_config import TriplaneModelConfig

if TYPE_CHECKING:
    from openlrm.nn.encoders import EncoderSpec

NERF, MESH = "nerf", "mesh"
KINDS = (NERF, MESH)

# Position tables are resized with this added to the side of the patch grid: the released weights were trained so.
_POSITION_OFFSET = 0.1
# What a DINO ViT is, where config.json writes an encoder out.
_DINO = {"num_register_tokens": 0, "layer_scale": False, "antialias": False, "eps": 1e-12, "normalise": True}


@dataclass
class InstantMeshConfig(TriplaneModelConfig):
    """Sizes of an InstantMesh, named as published; `kind` says which of the two models it is."""

    kind: str = option(help="nerf: volume rendering (stage 1); mesh: FlexiCubes (stage 2)", choices=KINDS)
    transformer_dim: int = option(1024, "token width", minimum=1)
    transformer_layers: int = option(16, "layers", minimum=1)
    transformer_heads: int = option(16, "attention heads; divides transformer_dim", minimum=1)
    triplane_low_res: int = option(32, "side of the planes in tokens", minimum=1)
    triplane_high_res: int = option(64, "side of the planes in texels; twice the low one", minimum=2)
    triplane_dim: int = option(80, "channels of a plane", minimum=1)
    rendering_samples_per_ray: int = option(128, "samples on a ray, half coarse and half fine; even", minimum=8)
    grid_res: int = option(128, "mesh: cubes along a side of the grid", minimum=4, maximum=512)
    grid_scale: float = option(2.1, "mesh: length of that side; the planes cover 2", minimum=0.1, maximum=10)
    encoder_freeze: bool = option(False, "keep the encoder as it is, its camera embedding apart")
    encoder_model_name: str = option("facebook/dino-vitb16", "which DINO, see openlrm.nn.encoders.ENCODERS")
    encoder_feat_dim: int = option(768, "its token width", minimum=1)
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    encoder: Optional[dict[str, Any]] = option(None, "sizes of an encoder that has no name")  # noqa: UP045

    def __post_init__(self) -> None:
        """Check the rules between fields; UserError names the one that is broken."""
        super().__post_init__()
        if self.kind not in KINDS:
            raise UserError(f"kind={self.kind!r} is neither of {', '.join(KINDS)}", "model config")
        if not isinstance(self.grid_scale, (int, float)) or not math.isfinite(self.grid_scale) or self.grid_scale <= 0:
            raise UserError(f"grid_scale={self.grid_scale!r} is not a positive number", "model config")

    @property
    def encoder_spec(self) -> "EncoderSpec":
        """Sizes of the encoder, with camera modulation.

        Raises:
            UserError: there is none of that name.
        """
        from openlrm.nn.encoders import encoder_spec

        custom = None if self.encoder is None else _DINO | self.encoder
        spec = encoder_spec("dino", self.encoder_model_name, self.encoder_feat_dim, custom)
        return dataclasses.replace(spec, modulation=True, interpolate_offset=_POSITION_OFFSET)

    @property
    def weights(self) -> int:
        """Entries of the matrices: a little less than the parameters.

        Raises:
            UserError: an encoder that does not exist.
        """
        width = self.transformer_dim
        # Of a layer: self attention 4, cross attention 2 and those of the features, the MLP 8.
        layer = 14 * width**2 + 2 * width * self.encoder_feat_dim
        tokens, upsampler = 3 * self.triplane_low_res**2 * width, 4 * width * self.triplane_dim
        return self.encoder_spec.weights + self.transformer_layers * layer + tokens + upsampler
