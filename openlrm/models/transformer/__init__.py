"""The image-to-triplane transformer: attention, modulated layers, camera embedding."""

from openlrm.models.transformer.attention import MultiHeadAttention
from openlrm.models.transformer.decoder import CameraEmbedder, TriplaneTransformer, Upsampler, triplane_tokens

__all__ = ["CameraEmbedder", "MultiHeadAttention", "TriplaneTransformer", "Upsampler", "triplane_tokens"]
