"""InstantMesh: views of an object and their cameras -> triplane -> views or a mesh (Xu et al., 2024)."""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn, ops

from openlrm.families.instantmesh.config import MESH, InstantMeshConfig
from openlrm.nn.encoders import EncoderSpec, VisionTransformer
from openlrm.nn.transformer import TriplaneTransformer, Upsampler, triplane_tokens
from openlrm.ops import Linear, SiLU
from openlrm.representations.surface import SurfaceSynthesizer
from openlrm.representations.triplane import TriplaneSynthesizer

_NORM_EPS = 1e-5


class PosedEncoder(nn.Cell):
    """A Vision Transformer whose norms are modulated by each picture's camera.

    Args:
        spec: of it.
        freeze: whether it is kept as it is; its camera embedding is trained all the same.
    """

    def __init__(self, spec: EncoderSpec, freeze: bool):
        super().__init__()
        self.model = VisionTransformer(spec)
        self.camera_embedder = nn.SequentialCell(
            Linear(16, spec.embed_dim), SiLU(), Linear(spec.embed_dim, spec.embed_dim)
        )
        if freeze:
            for parameter in self.model.get_parameters():
                parameter.requires_grad = False

    def construct(self, images: Tensor, cameras: Tensor) -> Tensor:
        """Tokens of views.

        Args:
            images: (B, V, 3, H, W) in [0, 1], sides multiples of the patch.
            cameras: (B, V, 16): 3x4 camera-to-world row-major, then fx, fy, cx, cy over the image's sides.

        Returns:
            (B, V (1 + patches), D), view after view.
        """
        batch, views, _, height, width = images.shape
        embedding = self.camera_embedder(cameras.reshape(batch * views, 16))
        tokens = self.model(images.reshape(batch * views, 3, height, width), False, embedding)
        return tokens.reshape(batch, -1, tokens.shape[2])


class PlaneTransformer(TriplaneTransformer):
    """From the tokens of all views to planes; layers have plain norms.

    Args:
        config: the model's.
    """

    def __init__(self, config: InstantMeshConfig):
        sizes = (config.transformer_layers, config.transformer_dim, config.transformer_heads, config.encoder_feat_dim)
        super().__init__(*sizes, eps=_NORM_EPS)
        self.pos_embed = triplane_tokens(config.triplane_low_res, config.transformer_dim)
        self.deconv = Upsampler(config.transformer_dim, config.triplane_dim, config.triplane_low_res)

    def planes(self, features: Tensor) -> Tensor:
        """(B, K, D) -> (B, 3, C, H', W')."""
        start = ops.tile(self.pos_embed, (features.shape[0], 1, 1))
        return self.deconv(self.construct(start, features))


class ModelInstantMesh(nn.Cell):
    """Both models of InstantMesh: volume rendering (`kind` nerf) and surfaces (`kind` mesh).

    Args:
        config: the fields of `InstantMeshConfig`, as keywords.

    Raises:
        UserError: a key that is unknown, missing or breaks a rule of `InstantMeshConfig`.
    """

    def __init__(self, **config: Any):
        super().__init__()
        cfg = InstantMeshConfig.from_dict(config)
        cfg.check_size()
        self.config = cfg
        self.encoder = PosedEncoder(cfg.encoder_spec, cfg.encoder_freeze)
        self.transformer = PlaneTransformer(cfg)
        if cfg.kind == MESH:
            self.synthesizer = SurfaceSynthesizer(cfg.triplane_dim, cfg.grid_res, cfg.grid_scale)
        else:
            self.synthesizer = TriplaneSynthesizer(cfg.triplane_dim, cfg.rendering_samples_per_ray, divided_depth=False)

    def construct(self, images: Tensor, cameras: Tensor) -> Tensor:
        """Planes (B, 3, C, H', W') of views (B, V, 3, H, W) in [0, 1] and cameras (B, V, 16); see `PosedEncoder`."""
        return self.transformer.planes(self.encoder(images, cameras))

    def forward_planes(self, images: Tensor, cameras: Tensor) -> Tensor:
        """The same, under the name it has in an LRM."""
        return self(images, cameras)
