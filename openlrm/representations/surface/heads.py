"""What is read off a triplane to make a surface of it: four small networks (InstantMesh, Xu et al., 2024)."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops import linear, sample_table
from openlrm.representations.triplane.field import field_color, field_mlp

CORNERS = 8
WEIGHTS = 21
_WEIGHT_SCALE = 0.1


class GeometryDecoder(nn.Cell):
    """Heads on features of points (P, 3 C), and on those of a cube's corners.

    Args:
        channels: C, of a plane.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.net_sdf = field_mlp(3 * channels, 1)
        self.net_deformation = field_mlp(3 * channels, 3)
        self.net_rgb = field_mlp(3 * channels, 3)
        self.net_weight = field_mlp(CORNERS * 3 * channels, WEIGHTS)

    def features(self, table: Tensor, points: Tensor, movable: bool = False) -> Tensor:
        """Features (P, 3 C) of points (P, 3) of the one object in a table of `openlrm.ops.build_table`.

        `movable`: see `openlrm.ops.sample_table`.
        """
        return sample_table(table, points.expand_dims(0), self.channels, movable)[0]

    def distances(self, features: Tensor) -> Tensor:
        """Signed distances (P,), negative inside; their unit is the network's own."""
        return self.net_sdf(features).reshape(-1)

    def offsets(self, features: Tensor) -> Tensor:
        """Raw displacements (P, 3), see `openlrm.geometry.displace`."""
        return self.net_deformation(features)

    def colors(self, features: Tensor) -> Tensor:
        """Colours (P, 3), a little beyond [0, 1]."""
        return field_color(self.net_rgb(features))

    def weights(self, features: Tensor, corners: np.ndarray) -> Tensor:
        """Raw FlexiCubes weights (N, 21) of cubes.

        The first layer is linear in each corner: it is applied to points once, not to each cube they belong to.

        Args:
            features: (P, 3 C) of points.
            corners: (N, 8) which of them are a cube's corners.
        """
        first, *others = self.net_weight
        hidden = first.weight.shape[0]
        of_corner = first.weight.reshape(hidden, CORNERS, -1).transpose(1, 0, 2).reshape(CORNERS * hidden, -1)
        parts = linear(features, of_corner).reshape(-1, hidden)
        rows = (corners * CORNERS + np.arange(CORNERS)).astype(np.int32)
        x = ops.gather(parts, Tensor(rows.reshape(-1)), 0).reshape(len(corners), CORNERS, hidden).sum(1) + first.bias
        for layer in others:
            x = layer(x)
        return x * _WEIGHT_SCALE
