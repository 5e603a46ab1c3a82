"""LRM: one image and its camera, or several -> triplane -> views (Hong et al., 2023)."""

from dataclasses import asdict

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.checkpoint import load_model, locate_model, save_model
from openlrm.checkpoint.adapter import load_adapter
from openlrm.errors import UserError
from openlrm.families.lrm.config import LRMConfig
from openlrm.families.lrm.view_tokens import ViewTokens
from openlrm.families.lrm.weights import from_checkpoint, to_release
from openlrm.nn.encoders import ImageEncoder
from openlrm.nn.transformer import CameraEmbedder, TriplaneTransformer, Upsampler, triplane_tokens
from openlrm.nn.transformer.lora import base_parameters, merge
from openlrm.representations.triplane import TriplaneSynthesizer

NAME = "lrm"


class ModelLRM(nn.Cell):
    """Large reconstruction model: encoder, camera-modulated triplane transformer, renderer.

    Args:
        config: the fields of `LRMConfig`, as keywords; what config.json of a released model carries.
            `source_size`, the side in pixels of the pictures it is made for, is kept for the model's own config.json.

    Raises:
        UserError: a key that is unknown, missing or breaks a rule of `LRMConfig`.
    """

    def __init__(self, **config):
        super().__init__()
        if config.pop("model_type", NAME) != NAME:
            raise UserError(f"not a config of an LRM: model_type is not {NAME}", "model config")
        self.source_size = config.pop("source_size", None)
        cfg = LRMConfig.from_dict(config)
        cfg.check_size()
        self.config = cfg
        self.encoder = ImageEncoder(cfg.encoder_spec, cfg.encoder_freeze)
        self.camera_embedder = CameraEmbedder(cfg.camera_embed_dim)
        self.view_tokens = ViewTokens(cfg.encoder_feat_dim, cfg.camera_embed_dim) if cfg.views > 1 else None
        self.pos_embed = triplane_tokens(cfg.triplane_low_res, cfg.transformer_dim)
        self.transformer = TriplaneTransformer(
            cfg.transformer_layers,
            cfg.transformer_dim,
            cfg.transformer_heads,
            cfg.encoder_feat_dim,
            cfg.camera_embed_dim,
        )
        self.upsampler = Upsampler(cfg.transformer_dim, cfg.triplane_dim, cfg.triplane_low_res)
        self.synthesizer = TriplaneSynthesizer(cfg.triplane_dim, cfg.rendering_samples_per_ray)

    @property
    def config_dict(self) -> dict:
        """The configuration as a released config.json carries it; what has no value is left out."""
        keys = asdict(self.config) | {"source_size": self.source_size}
        return {key: value for key, value in keys.items() if value is not None}

    @classmethod
    def from_pretrained(cls, folder_or_hub_name: str, strict: bool = True, adapter: str | None = None) -> "ModelLRM":
        """Load a release folder, a run folder, a checkpoint file or a hub id, ready for inference.

        Args:
            folder_or_hub_name: the model.
            strict: see `openlrm.checkpoint.load_model`.
            adapter: folder of a LoRA, see `attach_adapter`.

        Raises:
            UserError: not found, unreadable, or (strict) a parameter missing, left over or of another shape; an
                adapter that does not fit.
        """
        model = load_model(locate_model(folder_or_hub_name), cls.from_config, from_checkpoint, strict)
        if adapter is not None:
            model.attach_adapter(adapter)
        return model

    @classmethod
    def from_config(cls, config: dict, there: int | None = None) -> "ModelLRM":
        """Make a model from the contents of a config.json.

        Args:
            config: its keys.
            there: how many numbers the weights' file holds; a config that describes far more is refused.

        Raises:
            UserError: a key that is unknown, missing or breaks a rule of `LRMConfig`.
        """
        sizes = {key: value for key, value in config.items() if key not in ("model_type", "source_size")}
        LRMConfig.from_dict(sizes).check_size(there)
        return cls(**config)

    def attach_adapter(self, folder: str) -> None:
        """Put a LoRA's file onto the attention outputs; the weights stay as they are.

        Raises:
            UserError: not an adapter, another model's, or there is one already; see `checkpoint.adapter.load_adapter`.
        """
        load_adapter(self, folder)

    def merge_adapter(self) -> None:
        """Add the adapter to the attention outputs' weights: the same answers without it.

        Raises:
            UserError: there is none.
        """
        merge(self)

    def save_pretrained(self, folder: str, half: bool = False) -> None:
        """Write `folder`/config.json and `folder`/model.safetensors with PyTorch's key names, float32 or half of it."""
        save_model(folder, self.config_dict, self.released(), half)

    def released(self) -> dict[str, np.ndarray]:
        """Weights by the names of the released checkpoints, those of an adapter left out."""
        arrays = {name: parameter.asnumpy() for name, parameter in base_parameters(self).items()}
        return to_release(arrays, self.config.encoder_type)

    def construct(
        self,
        image: Tensor,
        source_camera: Tensor,
        render_cameras: Tensor | None = None,
        render_anchors: Tensor | None = None,
        render_resolutions: Tensor | None = None,
        render_bg_colors: Tensor | None = None,
        render_region_size: int = 0,
        stratified_noise: Tensor | None = None,
        importance_u: Tensor | None = None,
    ) -> dict:
        """Image to planes and, when cameras are given, rendered regions.

        Args:
            image: (N, 3, H, W) in [0, 1]; (N, K, 3, H, W) of a model with `source_views`.
            source_camera: (N, 16), see `CameraEmbedder`; (N, K, 16).
            render_cameras: (N, M, 25) or None, see `TriplaneSynthesizer`, as the ones below.
            render_anchors: (N, M, 2).
            render_resolutions: (N, M, 1).
            render_bg_colors: (N, M, 1).
            render_region_size: R.
            stratified_noise: draws of the first pass or None.
            importance_u: draws of the second pass or None.

        Returns:
            dict of planes (N, 3, C, H', W') and, with cameras, images_rgb, images_depth, images_weight.
        """
        planes = self.planes_from_features(self.features(image), source_camera)
        out = {"planes": planes}
        if render_cameras is not None:
            views = self.synthesizer(
                planes,
                render_cameras,
                render_anchors,
                render_resolutions,
                render_bg_colors,
                render_region_size,
                stratified_noise,
                importance_u,
            )
            out["images_rgb"] = views["images_rgb"]
            out["images_depth"] = views["images_depth"]
            out["images_weight"] = views["images_weight"]
        return out

    def features(self, image: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> features (N, L, D); (N, K, 3, H, W) -> (N, K, L, D)."""
        if image.ndim == 4:
            return self.encoder(image)
        features = self.encoder(image.reshape((-1, *image.shape[2:])))
        return features.reshape((*image.shape[:2], *features.shape[1:]))

    def planes_from_features(self, features: Tensor, source_camera: Tensor) -> Tensor:
        """Features and source cameras -> planes (N, 3, C, H', W').

        Args:
            features: (N, L, D), or (N, K, L, D) of a model with `source_views`.
            source_camera: (N, 16), or (N, K, 16). The first one's modulates the transformer; every one its own tokens.
        """
        camera = self.camera_embedder(source_camera)
        if features.ndim == 4:
            features, camera = self.view_tokens(features, camera), camera[:, 0]
        tokens = ops.tile(self.pos_embed, (features.shape[0], 1, 1))
        return self.upsampler(self.transformer(tokens, features, camera))

    def forward_planes(self, image: Tensor, camera: Tensor) -> Tensor:
        """Image and source camera, see `construct` -> planes (N, 3, C, H', W')."""
        return self(image, camera)["planes"]
