"""Cross-attention of anchors in space to the pictures they appear in: deformable attention around projected points."""

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import XavierUniform, initializer

from openlrm.ops import Linear
from openlrm.ops.deformable import deformable_sample

# |z| below counts as this: a point on the camera's plane has no picture.
_LEAST_DEPTH = 1e-6


def project_points(points: Tensor, intrinsics: Tensor, c2w: Tensor) -> Tensor:
    """Where points appear in views; those behind a camera are mirrored, and nothing is tested for visibility.

    Args:
        points: (B, S, 3) world.
        intrinsics: (B, V, 3, 3), over the picture's width and height.
        c2w: (B, V, 4, 4), axes right, up, backward.

    Returns:
        (B, V, S, 2): u to the right and v down, (0, 0) the upper left corner, (1, 1) the lower right one.
    """
    offsets = points.expand_dims(1) - c2w[:, :, :3, 3].expand_dims(2)

    def along(axis: int) -> Tensor:
        return (offsets * c2w[:, :, :3, axis].expand_dims(2)).sum(-1)

    x, y, depth = along(0), along(1), -along(2)
    near = ops.where(depth < 0, ops.full_like(depth, -_LEAST_DEPTH), ops.full_like(depth, _LEAST_DEPTH))
    depth = ops.where(ops.abs(depth) < _LEAST_DEPTH, near, depth)
    fx, fy, cx, cy = (intrinsics[:, :, i, j].expand_dims(2) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return ops.stack([cx + fx * x / depth, cy - fy * y / depth], axis=-1)


class DeformableAttention(nn.Cell):
    """Samples of one view's maps around projected points (Zhu et al., "Deformable DETR", 2021).

    Args:
        dim: of the queries and of the result.
        heads: divides dim.
        feature_dim: channels of the maps.
        points: samples of a head on each map.
        levels: maps.
    """

    def __init__(self, dim: int, heads: int, feature_dim: int, points: int, levels: int = 2):
        super().__init__()
        self.heads, self.points, self.levels = heads, points, levels
        places = heads * levels * points
        self.sampling_offsets = Linear(dim, 2 * places)
        self.attention_weights = Linear(dim, places)
        self.value_proj = Linear(feature_dim, dim)
        self.sampling_offsets.weight.set_data(initializer("zeros", (2 * places, dim), ms.float32))
        self.sampling_offsets.bias.set_data(Tensor(_rings(heads, levels, points)))
        self.attention_weights.weight.set_data(initializer("zeros", (places, dim), ms.float32))
        self.attention_weights.bias.set_data(initializer("zeros", (places,), ms.float32))
        start_projection(self.value_proj)

    def places(self, query: Tensor, sizes: tuple[tuple[int, int], ...]) -> tuple[Tensor, Tensor]:
        """What depends on the queries alone and is the same for every view.

        Args:
            query: (B, S, dim).
            sizes: H and W of each map.

        Returns:
            Offsets from the projected points (B, S, heads, levels, points, 2) as shares of a map's width and height,
            and weights (B, S, heads, levels, points).
        """
        batch, count, _ = query.shape
        shape = (batch, count, self.heads, self.levels, self.points)
        texels = Tensor(np.array([[[1 / w, 1 / h]] for h, w in sizes], np.float32))
        offsets = self.sampling_offsets(query).reshape((*shape, 2)) * texels
        weights = ops.softmax(self.attention_weights(query).reshape(batch, count, self.heads, -1), axis=-1)
        return offsets, weights.reshape(shape)

    def construct(
        self, features: Tensor, uv: Tensor, offsets: Tensor, weights: Tensor, sizes: tuple[tuple[int, int], ...]
    ) -> Tensor:
        """One view of each object.

        Args:
            features: (B, L, feature_dim), the maps one after the other.
            uv: (B, S, 2), of `project_points`.
            offsets: of `places`.
            weights: of `places`.
            sizes: H and W of each map.

        Returns:
            (B, S, dim), heads side by side.
        """
        batch, count = uv.shape[:2]
        values = self.value_proj(features).reshape(batch, features.shape[1], self.heads, -1)
        positions = uv.reshape(batch, count, 1, 1, 1, 2) + offsets
        return deformable_sample(values, sizes, positions, weights).reshape(batch, count, -1)


class ProjectedAttention(nn.Cell):
    """Deformable attention to every view, the views weighted against each other; arguments as those of the parts."""

    def __init__(self, dim: int, heads: int, feature_dim: int, points: int):
        super().__init__()
        self.deformable_attention = DeformableAttention(dim, heads, feature_dim, points)
        self.cross_view_weight = Linear(dim, 1)
        self.output_proj = Linear(dim, dim)
        start_projection(self.output_proj)

    def per_view(self, query: Tensor, features: Tensor, uv: Tensor, sizes: tuple[tuple[int, int], ...]) -> list[Tensor]:
        """What each view gives: V of (B, S, dim); arguments as `construct`."""
        places = self.deformable_attention.places(query, sizes)
        return [self._view(v, features, uv, places, sizes) for v in range(features.shape[1])]

    def construct(self, query: Tensor, features: Tensor, uv: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
        """Attend; no residual.

        The softmax over views is summed view by view, so nothing is kept of a view but its share.

        Args:
            query: (B, S, dim).
            features: (B, V, L, feature_dim).
            uv: (B, V, S, 2).
            sizes: H and W of each map.

        Returns:
            (B, S, dim).
        """
        places = self.deformable_attention.places(query, sizes)
        mixed = self._view(0, features, uv, places, sizes)
        largest = self.cross_view_weight(mixed)
        total = ops.ones_like(largest)
        for v in range(1, features.shape[1]):
            seen = self._view(v, features, uv, places, sizes)
            score = self.cross_view_weight(seen)
            # Any number at least as large as the scores will do: no gradient goes through it.
            higher = ops.stop_gradient(ops.maximum(largest, score))
            before, here = ops.exp(largest - higher), ops.exp(score - higher)
            mixed, total, largest = mixed * before + seen * here, total * before + here, higher
        return self.output_proj(mixed / total)

    def _view(self, v: int, features: Tensor, uv: Tensor, places: tuple, sizes: tuple) -> Tensor:
        return self.deformable_attention(features[:, v], uv[:, v], *places, sizes)


def start_projection(layer: Linear) -> None:
    """Xavier-uniform weight and no bias."""
    layer.weight.set_data(initializer(XavierUniform(), layer.weight.shape, ms.float32))
    layer.bias.set_data(initializer("zeros", layer.bias.shape, ms.float32))


def _rings(heads: int, levels: int, points: int) -> np.ndarray:
    """First offsets in texels, flat: point i of head k is i + 1 texels away on a square, at 2 pi k / heads."""
    angles = 2 * math.pi * np.arange(heads) / heads
    ways = np.stack([np.cos(angles), np.sin(angles)], -1)
    ways /= np.abs(ways).max(-1, keepdims=True)
    steps = np.arange(1, points + 1).reshape(1, 1, points, 1)
    offsets = np.broadcast_to(ways.reshape(heads, 1, 1, 2) * steps, (heads, levels, points, 2))
    return offsets.reshape(-1).astype(np.float32)
