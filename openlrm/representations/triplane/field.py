"""The triplane field: point -> colour and density (EG3D, Chan et al., 2022, section 4.2, without view dependence)."""

from mindspore import Tensor, nn, ops

from openlrm.ops import Linear, sample_table


class ReLU(nn.Cell):
    """max(x, 0)."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        return ops.relu(x)


class TriplaneDecoder(nn.Cell):
    """Samples the planes at points and decodes the features with an MLP, three hidden layers of 64."""

    def __init__(self, channels: int, hidden: int = 64):
        super().__init__()
        self.channels = channels
        self.net = nn.SequentialCell(
            Linear(3 * channels, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, 4, zero_bias=True),
        )

    def construct(self, table: Tensor, points: Tensor) -> Tensor:
        """Raw density and colour at points.

        Args:
            table: planes laid out by `openlrm.ops.build_table`.
            points: (N, P, 3).

        Returns:
            (N, P, 4): raw density (before softplus(. - 1)), then rgb = sigmoid * 1.002 - 0.001.
        """
        out = self.net(sample_table(table, points, self.channels))
        return ops.concat([out[..., :1], ops.sigmoid(out[..., 1:]) * 1.002 - 0.001], axis=-1)


def density(raw: Tensor) -> Tensor:
    """Density of raw values: softplus(raw - 1), any shape, >= 0."""
    return ops.softplus(raw - 1)
