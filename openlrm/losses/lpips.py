"""Learned perceptual image patch similarity on VGG16 features (Zhang et al., 2018)."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from openlrm.losses.backbone import DEFAULT_BACKBONE, read_backbone
from openlrm.ops import conv3x3, unit_channels

LIN_WEIGHTS = Path(__file__).parent / "data" / "lpips_vgg_lin.npz"

MIN_SIDE = 16
"""Pixels a side below which nothing is left after the four poolings."""

# ImageNet's mean and spread for images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

# Convolutions between two poolings; features are taken after the last of each.
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


class LPIPS(nn.Cell):
    """Perceptual distance; nothing in it is trained, and the gradient goes to the first picture alone.

    d(x, y) = sum over stages of mean over pixels of sum over channels of w_c (f_c(x) - f_c(y))^2, with f the
    features of a pixel divided by their length (eq. 1; relu1_2, 2_2, 3_3, 4_3, 5_3).

    Args:
        backbone: VGG16's weights, see `read_backbone`.

    Raises:
        UserError: the weights are missing or another network's.
    """

    def __init__(self, backbone: str | Path = DEFAULT_BACKBONE):
        super().__init__()
        weights = read_backbone(backbone)
        self.stages = nn.CellList([_Stage([weights[layer] for layer in stage]) for stage in _STAGES])
        with np.load(LIN_WEIGHTS) as lin:
            self.lin = [Tensor(lin[f"lin{stage}"].reshape(-1, 1)) for stage in range(len(_STAGES))]
        self.shift, self.scale = (Tensor(np.array(values, np.float32).reshape(1, 3, 1, 1)) for values in (SHIFT, SCALE))
        self.pool = ops.MaxPool(kernel_size=2, strides=2)
        self.set_train(False)

    def construct(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of each pair of pictures.

        Args:
            prediction: (N, 3, H, W) in [0, 1]; sides of at least `MIN_SIDE` pixels.
            target: the same shape; no gradient flows to it.

        Returns:
            (N,) float32, 0 for equal pictures. Its mean is the loss.
        """
        return self.compare(self.features(prediction), self.features(ops.stop_gradient(target)))

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """Unit features of every stage, (N, C, H', W') each, of pictures (N, 3, H, W) in [0, 1]."""
        if min(image.shape[2], image.shape[3]) < MIN_SIDE:
            raise ValueError("LPIPS needs pictures of at least 16 x 16 pixels")
        x = (image.astype(ms.float32) * 2 - 1 - self.shift) / self.scale
        found = []
        for stage in range(len(self.stages)):
            x = self.stages[stage](self.pool(x) if stage else x)
            found.append(unit_channels(x))
        return tuple(found)

    def compare(self, x: tuple[Tensor, ...], y: tuple[Tensor, ...]) -> Tensor:
        """Distance (N,) of pictures by their features."""
        total = 0
        for stage in range(len(self.stages)):
            difference = x[stage] - y[stage]
            mean = (difference * difference).mean((2, 3))
            total = total + ops.matmul(mean, self.lin[stage]).reshape(-1)
        return total


class _Stage(nn.Cell):
    """Convolutions with a ReLU after each."""

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]]):
        super().__init__()
        self.weights = ms.ParameterTuple(
            [Parameter(Tensor(weight), name=f"weight{i}", requires_grad=False) for i, (weight, _) in enumerate(layers)]
        )
        self.biases = ms.ParameterTuple(
            [Parameter(Tensor(bias), name=f"bias{i}", requires_grad=False) for i, (_, bias) in enumerate(layers)]
        )

    def construct(self, x: Tensor) -> Tensor:
        for i in range(len(self.weights)):
            x = ops.relu(conv3x3(x, self.weights[i], self.biases[i]))
        return x
