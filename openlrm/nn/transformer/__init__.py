"""The image-to-triplane transformer: attention, modulated layers, camera embedding."""

from openlrm.nn.transformer.attention import MultiHeadAttention
from openlrm.nn.transformer.decoder import CameraEmbedder, TriplaneTransformer, Upsampler, triplane_tokens

__all__ = ["CameraEmbedder", "MultiHeadAttention", "TriplaneTransformer", "Upsampler", "triplane_tokens"]
