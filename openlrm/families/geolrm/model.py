"""GeoLRM: posed pictures -> occupied cells -> 3D Gaussians (Zhang et al., 2024)."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.checkpoint import load_model, locate_model, save_model
from openlrm.errors import UserError
from openlrm.families.family import MODEL_TYPE, SOURCE_SIZE
from openlrm.families.geolrm.cells import token_positions
from openlrm.families.geolrm.config import PROPOSAL_ALONE, GeoLRMConfig
from openlrm.families.geolrm.weights import from_checkpoint, to_release
from openlrm.nn.encoders import HierarchicalEncoder
from openlrm.nn.transformer.anchors import AnchorTransformer
from openlrm.ops import Linear, silu
from openlrm.ops.token_layers import grid_index
from openlrm.representations.gaussians.activation import RAW, activate

NAME = "geolrm"


class _Network(nn.Cell):
    """What both networks are: an encoder, and anchors that look at its features."""

    def __init__(self, config: GeoLRMConfig, part):
        super().__init__()
        self.config, self.part = config, part
        self.encoder = HierarchicalEncoder(config.encoder_spec, config.feature_dim, config.encoder_freeze)
        self.transformer = AnchorTransformer(
            part.transformer_dim,
            part.transformer_layers,
            part.transformer_heads,
            config.feature_dim,
            config.num_deform_points,
            "tokens" if config.attention == "auto" else config.attention,
            config.dca_residual,
            part.dropout,
        )

    def features(self, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """Pictures (B, V, 3, H, W), (B, V, 3, 3) and (B, V, 4, 4) -> (B, V, L, feature_dim)."""
        batch, views, _, height, width = images.shape
        count = batch * views
        flat = images.reshape(count, 3, height, width), intrinsics.reshape(count, 3, 3), c2w.reshape(count, 4, 4)
        encoded = self.encoder(*flat)
        return encoded.reshape(batch, views, encoded.shape[1], encoded.shape[2])

    def index(self, points: Tensor, half: float) -> Tensor:
        """Cells (B, S, 3), float32 whole numbers, of anchors for the rotary positions."""
        grid = self.config.grid_size
        if self.config.voxels == "corners":
            return grid_index(points, grid, half)
        return ops.floor((points / half + 1) * (grid / 2))

    def tokens(self, points: Tensor, half: float, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """A token for each anchor (B, S, dim)."""
        sizes = self.encoder.sizes(*images.shape[-2:])
        features = self.features(images, intrinsics, c2w)
        return self.transformer(points, self.index(points, half), features, intrinsics, c2w, sizes)


class ProposalNetwork(_Network):
    """Posed pictures -> which cells of a grid the object's surface is in."""

    def __init__(self, config: GeoLRMConfig):
        super().__init__(config, config.serializer)
        self.block = config.grid_size // self.part.token_res
        self.upsample = Linear(self.part.transformer_dim, self.block**3)
        self.anchors = Tensor(token_positions(self.part.token_res, config.voxels))

    def construct(self, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """Logits of cells.

        Args:
            images: (B, V, 3, H, W) in [0, 1], sides multiples of the patch.
            intrinsics: (B, V, 3, 3), over width and height.
            c2w: (B, V, 4, 4), the object in [-0.5, 0.5]^3, z up; axes right, up, backward.

        Returns:
            (B, G, G, G), x first.
        """
        batch, side, block = images.shape[0], self.part.token_res, self.block
        points = ops.broadcast_to(self.anchors.expand_dims(0), (batch, side**3, 3))
        logits = self.upsample(self.tokens(points, 0.5, images, intrinsics, c2w))
        logits = logits.reshape(batch, side, side, side, block, block, block).transpose(0, 1, 4, 2, 5, 3, 6)
        return logits.reshape(batch, side * block, side * block, side * block)


class ReconstructionNetwork(_Network):
    """Posed pictures and occupied cells -> Gaussians."""

    def __init__(self, config: GeoLRMConfig):
        super().__init__(config, config.lrm_generator)
        self.renderer = _Head(self.part.transformer_dim, RAW * self.part.gs_per_token)

    def construct(self, points: Tensor, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """Latents (B, S, dim) of anchors (B, S, 3); the rest as `ProposalNetwork`."""
        return self.tokens(points, self.config.rope_scale, images, intrinsics, c2w)

    def gaussians(self, points: Tensor, latents: Tensor) -> tuple[Tensor, ...]:
        """Means, scales, rotations, opacities and colours (B, S * per anchor, .)."""
        part = self.part
        return activate(self.renderer(latents), points, part.offset_max, part.scale_max, self.config.offset)


class _Head(nn.Cell):
    """Two layers that give the numbers of an anchor's Gaussians."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.latent_decoder = nn.CellList([Linear(dim, width), nn.Identity(), Linear(width, width)])

    def construct(self, latents: Tensor) -> Tensor:
        """(B, S, dim) -> (B, S, width)."""
        return self.latent_decoder[2](silu(self.latent_decoder[0](latents)))


class GeoLRM(nn.Cell):
    """Proposal and reconstruction network, under the names they are released with.

    Args:
        config: fields of `GeoLRMConfig`, what config.json carries; `source_size`, the side in pixels of the pictures
            it is made for, is kept for the model's own config.json.

    Raises:
        UserError: a key that is unknown or breaks a rule.
    """

    def __init__(self, **config):
        super().__init__()
        if config.pop(MODEL_TYPE, NAME) != NAME:
            raise UserError(f"not a config of a GeoLRM: {MODEL_TYPE} is not {NAME}", "model config")
        self.source_size = config.pop(SOURCE_SIZE, None)
        self.config = GeoLRMConfig.from_dict(config)
        self.config.check_size()
        self.serializer = ProposalNetwork(self.config)
        self.lrm_generator = None if self.config.networks == PROPOSAL_ALONE else ReconstructionNetwork(self.config)

    @property
    def patch(self) -> int:
        """Side in pixels of the encoder's patches."""
        return self.serializer.encoder.patch

    def occupancy(self, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """Logits (B, G, G, G) of cells, see `ProposalNetwork`."""
        return self.serializer(images, intrinsics, c2w)

    def latents(self, points: Tensor, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
        """A token (B, S, dim) for each anchor (B, S, 3), see `ReconstructionNetwork`.

        Raises:
            UserError: the model has no reconstruction network.
        """
        return self._generator()(points, images, intrinsics, c2w)

    def gaussians(self, points: Tensor, latents: Tensor) -> tuple[Tensor, ...]:
        """Means, scales, rotations, opacities and colours (B, S * per anchor, .) of anchors and their latents.

        Raises:
            UserError: the model has no reconstruction network.
        """
        return self._generator().gaussians(points, latents)

    def construct(self, points: Tensor, images: Tensor, intrinsics: Tensor, c2w: Tensor) -> tuple[Tensor, ...]:
        """Gaussians of anchors: `latents`, then `gaussians`."""
        return self.gaussians(points, self.latents(points, images, intrinsics, c2w))

    def set_attention(self, kind: str) -> None:
        """Choose `tokens` or `released` attention in both networks."""
        for network in (self.serializer, self.lrm_generator):
            if network is not None:
                network.transformer.set_attention(kind)

    @property
    def config_dict(self) -> dict:
        """Contents of its config.json."""
        keys = {MODEL_TYPE: NAME} | dataclasses.asdict(self.config) | {SOURCE_SIZE: self.source_size}
        return {key: value for key, value in keys.items() if value is not None}

    def released(self) -> dict[str, np.ndarray]:
        """Weights by the names of the released checkpoints."""
        return to_release({name: parameter.asnumpy() for name, parameter in self.parameters_and_names()})

    @classmethod
    def from_config(cls, config: dict, there: int | None = None) -> GeoLRM:
        """Make a model from the contents of a config.json.

        Args:
            config: its keys.
            there: how many numbers the weights' file holds; a config that describes far more is refused.

        Raises:
            UserError: a key that is unknown or breaks a rule.
        """
        sizes = {key: value for key, value in config.items() if key not in (MODEL_TYPE, SOURCE_SIZE)}
        GeoLRMConfig.from_dict(sizes).check_size(there)
        return cls(**config)

    @classmethod
    def from_pretrained(cls, folder: str, strict: bool = True) -> GeoLRM:
        """Load a folder, a checkpoint file or a hub id, ready for inference.

        Raises:
            UserError: not found, unreadable, or (strict) weights that do not fit.
        """
        return load_model(locate_model(folder), cls.from_config, from_checkpoint, strict)

    def save_pretrained(self, folder: str, half: bool = False) -> None:
        """Write `folder`/config.json and `folder`/model.safetensors with the released names, float32 or half of it."""
        save_model(folder, self.config_dict, self.released(), half)

    def _generator(self) -> ReconstructionNetwork:
        if self.lrm_generator is None:
            raise UserError(
                "the model has no reconstruction network",
                hint="its weights are of the proposal stage alone; train the next",
            )
        return self.lrm_generator


def anchor_tensor(points: np.ndarray) -> Tensor:
    """Anchors (S, 3) of one object as (1, S, 3)."""
    return Tensor(np.ascontiguousarray(points[None], np.float32), ms.float32)
