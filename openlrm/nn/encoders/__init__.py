"""Image encoders: image (N, 3, H, W) -> tokens (N, 1 + patches, D)."""

from openlrm.nn.encoders.dinov2 import Dinov2
from openlrm.nn.encoders.hierarchical import HierarchicalEncoder, pluecker_rays
from openlrm.nn.encoders.presets import ENCODERS, EncoderSpec, encoder_spec
from openlrm.nn.encoders.vit import ImageEncoder, VisionTransformer

__all__ = [
    "ENCODERS",
    "Dinov2",
    "EncoderSpec",
    "HierarchicalEncoder",
    "ImageEncoder",
    "VisionTransformer",
    "encoder_spec",
    "pluecker_rays",
]
