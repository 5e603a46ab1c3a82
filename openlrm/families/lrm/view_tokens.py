"""Features of several pictures as one sequence, each picture's tokens told from where it was taken."""

import mindspore as ms
from mindspore import Tensor, nn
from mindspore.common.initializer import initializer

from openlrm.nn.transformer.decoder import SiLU
from openlrm.ops import Linear


class ViewTokens(nn.Cell):
    """Modulates the features of every view by its own camera: f (1 + scale) + shift, [shift, scale] = Linear(SiLU(c)).

    It begins as the identity, so a model of one view goes on where its weights left off.

    Args:
        feature_dim: D, width of the encoder's tokens.
        camera_dim: E, width of the camera embedding.
    """

    def __init__(self, feature_dim: int, camera_dim: int):
        super().__init__()
        self.dim = feature_dim
        self.activation = SiLU()
        self.linear = Linear(camera_dim, 2 * feature_dim, zero_bias=True)
        self.linear.weight.set_data(initializer("zeros", self.linear.weight.shape, ms.float32))

    def construct(self, features: Tensor, cameras: Tensor) -> Tensor:
        """Features (N, K, L, D) and camera embeddings (N, K, E) -> (N, K L, D), the views in their order."""
        objects, views, length, _ = features.shape
        modulation = self.linear(self.activation(cameras))[:, :, None]
        features = features * (1 + modulation[..., self.dim :]) + modulation[..., : self.dim]
        return features.reshape(objects, views * length, self.dim)
