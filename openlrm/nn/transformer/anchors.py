"""Transformer over anchors in space that look at posed pictures.

Zhang et al., "GeoLRM: Geometry-Aware Large Reconstruction Model" (2024), section 3.2.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from openlrm.nn.transformer.deformable import ProjectedAttention, project_points
from openlrm.ops import Linear, attend_tokens
from openlrm.ops.token_layers import RMSNorm, SwiGLU, rotary_angles, rotate

ATTENTIONS = ("tokens", "released")
RESIDUALS = ("normed", "raw")


class Dropout(nn.Cell):
    """Zeros at random in training, by draws that `reseed` starts anew; PyNative, as the draws are the host's."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.reseed(0)

    def reseed(self, *seed: int) -> None:
        """Start the draws anew."""
        self._draws = np.random.default_rng(seed)

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        if not self.training or self.rate == 0:
            return x
        kept = self._draws.random(x.shape, np.float32) >= self.rate
        return x * Tensor(kept.astype(np.float32) / np.float32(1 - self.rate))


class AnchorAttention(nn.Cell):
    """Self-attention of anchors, without biases.

    Args:
        dim: of the tokens.
        heads: divides dim.
        kind: `tokens` for attention over the tokens with rotary positions. `released` for what the program does that
            the published weights may have been trained with: over the heads of each token, whose results are then
            read in another order, so that tokens mix by their places in the list.
        dropout: of the attention probabilities.
    """

    def __init__(self, dim: int, heads: int, kind: str, dropout: Dropout):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.wq, self.wk, self.wv, self.wo = (Linear(dim, dim, bias=False) for _ in range(4))
        self.dropout = dropout

    def construct(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """(B, S, dim), angles of `rotary_angles` (B, S, 3, Q) -> (B, S, dim)."""
        batch, count, dim = x.shape
        shape = (batch, count, self.heads, dim // self.heads)
        q, k, v = (layer(x).reshape(shape) for layer in (self.wq, self.wk, self.wv))
        if self.kind == "released":
            return self.wo(self._over_heads(q, k, v).transpose(0, 2, 1, 3).reshape(x.shape))
        q, k = rotate(q, cosines, sines), rotate(k, cosines, sines)
        if self.training and self.dropout.rate > 0:
            return self.wo(self._dropped(q, k, v).reshape(x.shape))
        q, k, v = (y.reshape(x.shape) for y in (q, k, v))
        return self.wo(attend_tokens(q, k, v, self.heads))

    def _over_heads(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, S, heads, width) each; in training scores are dropped before the softmax."""
        scores = ops.matmul(q, k.swapaxes(-1, -2)) / math.sqrt(q.shape[-1])
        return ops.matmul(ops.softmax(self.dropout(scores), axis=-1), v)

    def _dropped(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention over tokens whose probabilities, all S x S of a head, are dropped at random."""
        q, k, v = (y.transpose(0, 2, 1, 3) for y in (q, k, v))
        scores = ops.matmul(q, k.swapaxes(-1, -2)) / math.sqrt(q.shape[-1])
        return ops.matmul(self.dropout(ops.softmax(scores, axis=-1)), v).transpose(0, 2, 1, 3)


class AnchorBlock(nn.Cell):
    """Self-attention, attention to the pictures, SwiGLU, each after an RMSNorm.

    Args:
        dim: of the tokens.
        heads: of both attentions; divides dim.
        feature_dim: channels of the pictures' features.
        points: samples of a head on each map.
        attention: one of ATTENTIONS.
        residual: what the pictures' part is added to: `normed` (as released) its normed input, `raw` (the paper) the
            input itself.
        dropout: of the branches and of the attention probabilities.
    """

    def __init__(
        self, dim: int, heads: int, feature_dim: int, points: int, attention: str, residual: str, dropout: Dropout
    ):
        super().__init__()
        self.residual = residual
        self.self_attention = AnchorAttention(dim, heads, attention, dropout)
        self.cross_attention = ProjectedAttention(dim, heads, feature_dim, points)
        self.feed_forward = SwiGLU(dim)
        self.self_attention_norm, self.cross_attention_norm, self.ffn_norm = (RMSNorm(dim) for _ in range(3))
        self.dropout = dropout

    def construct(
        self,
        x: Tensor,
        cosines: Tensor,
        sines: Tensor,
        features: Tensor,
        uv: Tensor,
        sizes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        """(B, S, dim) -> (B, S, dim); the others as in the parts."""
        x = x + self.dropout(self.self_attention(self.self_attention_norm(x), cosines, sines))
        query = self.cross_attention_norm(x)
        seen = self.dropout(self.cross_attention(query, features, uv, sizes))
        x = (query if self.residual == "normed" else x) + seen
        return x + self.dropout(self.feed_forward(self.ffn_norm(x)))


class AnchorTransformer(nn.Cell):
    """Anchors and features of posed pictures -> a token for each anchor.

    A token starts as its position and one vector that is learnt for all.

    Args:
        dim: of the tokens.
        layers: blocks.
        heads: of both attentions.
        feature_dim: channels of the features.
        points: samples of a head on each map.
        attention: see `AnchorAttention`.
        residual: see `AnchorBlock`.
        dropout: rate in training.
    """

    def __init__(
        self,
        dim: int,
        layers: int,
        heads: int,
        feature_dim: int,
        points: int,
        attention: str = "tokens",
        residual: str = "normed",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.head_width = dim // heads
        self.query_token = Parameter(initializer(Normal(1.0), (1, 1, dim - 3), ms.float32))
        self.dropout = Dropout(dropout)
        options = (dim, heads, feature_dim, points, attention, residual, self.dropout)
        self.layers = nn.CellList([AnchorBlock(*options) for _ in range(layers)])
        self.norm = RMSNorm(dim)

    def start(self, points: Tensor) -> Tensor:
        """First tokens (B, S, dim) of anchors (B, S, 3)."""
        batch, count, _ = points.shape
        learnt = ops.broadcast_to(self.query_token, (batch, count, self.query_token.shape[2]))
        return ops.concat([points, learnt], axis=-1)

    def construct(
        self,
        points: Tensor,
        index: Tensor,
        features: Tensor,
        intrinsics: Tensor,
        c2w: Tensor,
        sizes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        """Tokens of anchors.

        Args:
            points: (B, S, 3) where the anchors are.
            index: (B, S, 3) whole numbers, their places for the rotary positions.
            features: (B, V, L, feature_dim).
            intrinsics: (B, V, 3, 3).
            c2w: (B, V, 4, 4).
            sizes: H and W of each map.

        Returns:
            (B, S, dim).
        """
        uv = project_points(points, intrinsics, c2w)
        angles = rotary_angles(index, self.head_width)
        x = self.start(points)
        for layer in self.layers:
            x = layer(x, *angles, features, uv, sizes)
        return self.norm(x)

    def set_attention(self, kind: str) -> None:
        """Choose one of ATTENTIONS anew."""
        for layer in self.layers:
            layer.self_attention.kind = kind
