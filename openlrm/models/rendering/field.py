"""The triplane field: point -> colour and density (EG3D, Chan et al., 2022, section 4.2, without view dependence)."""

from mindspore import Tensor, nn, ops

from openlrm.ops import Linear, sample_table


class ReLU(nn.Cell):
    """max(x, 0)."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        return ops.relu(x)


class TriplaneDecoder(nn.Cell):
    """Features (N, P, 3C) -> raw density and colour logits (N, P, 4): three hidden layers of 64."""

    def __init__(self, channels: int, hidden: int = 64):
        super().__init__()
        self.net = nn.SequentialCell(
            Linear(3 * channels, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, hidden, zero_bias=True),
            ReLU(),
            Linear(hidden, 4, zero_bias=True),
        )

    def construct(self, features: Tensor) -> Tensor:
        """(N, P, 3C) -> (N, P, 4)."""
        return self.net(features)


def decode(decoder: TriplaneDecoder, table: Tensor, points: Tensor, channels: int) -> Tensor:
    """Raw density and colour at points.

    Args:
        decoder: the field's MLP.
        table: planes laid out by `openlrm.ops.build_table`.
        points: (N, P, 3).
        channels: C of the planes.

    Returns:
        (N, P, 4): raw density (before softplus(. - 1)), then rgb = sigmoid * 1.002 - 0.001.
    """
    out = decoder(sample_table(table, points, channels))
    return ops.concat([out[..., :1], ops.sigmoid(out[..., 1:]) * 1.002 - 0.001], axis=-1)


def density(raw: Tensor) -> Tensor:
    """Density of raw values: softplus(raw - 1), any shape, >= 0."""
    return ops.softplus(raw - 1)
