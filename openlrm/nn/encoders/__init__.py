"""Image encoders: image (N, 3, H, W) -> tokens (N, 1 + patches, D)."""

from openlrm.nn.encoders.presets import ENCODERS, EncoderSpec, encoder_spec
from openlrm.nn.encoders.vit import ImageEncoder, VisionTransformer

__all__ = ["ENCODERS", "EncoderSpec", "ImageEncoder", "VisionTransformer", "encoder_spec"]
