"""The triplane field: point -> colour and density (EG3D, Chan et al., 2022, section 4.2, without view dependence)."""

from mindspore import Tensor, nn, ops

from openlrm.ops import Linear, sample_table


class ReLU(nn.Cell):
    """max(x, 0)."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        return ops.relu(x)


def field_mlp(inputs: int, outputs: int, hidden: int = 64) -> nn.SequentialCell:
    """Three hidden layers with ReLU and a linear one; biases start at zero."""
    widths = (inputs, hidden, hidden, hidden)
    layers = [cell for width in widths[:3] for cell in (Linear(width, hidden, zero_bias=True), ReLU())]
    return nn.SequentialCell(*layers, Linear(hidden, outputs, zero_bias=True))


def field_color(logits: Tensor) -> Tensor:
    """Colour of logits, any shape: a sigmoid that reaches 0 and 1, a little beyond [0, 1] on both sides."""
    return ops.sigmoid(logits) * 1.002 - 0.001


class TriplaneDecoder(nn.Cell):
    """Samples the planes at points and decodes the features with an MLP, three hidden layers of 64."""

    def __init__(self, channels: int, hidden: int = 64):
        super().__init__()
        self.channels = channels
        self.net = field_mlp(3 * channels, 4, hidden)

    def construct(self, table: Tensor, points: Tensor) -> Tensor:
        """Raw density and colour at points.

        Args:
            table: planes laid out by `openlrm.ops.build_table`.
            points: (N, P, 3).

        Returns:
            (N, P, 4): raw density (before softplus(. - 1)), then rgb = sigmoid * 1.002 - 0.001.
        """
        out = self.net(sample_table(table, points, self.channels))
        return ops.concat([out[..., :1], field_color(out[..., 1:])], axis=-1)


def density(raw: Tensor) -> Tensor:
    """Density of raw values: softplus(raw - 1), any shape, >= 0."""
    return ops.softplus(raw - 1)
