"""Image encoders: image (N, 3, H, W) -> tokens (N, 1 + patches, D)."""

from openlrm.models.encoders.presets import ENCODERS, EncoderSpec, encoder_spec
from openlrm.models.encoders.vit import ImageEncoder, VisionTransformer

__all__ = ["ENCODERS", "EncoderSpec", "ImageEncoder", "VisionTransformer", "encoder_spec"]
