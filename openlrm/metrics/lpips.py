"""Learned perceptual image patch similarity, asked from numpy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


class PerceptualMetric:
    """LPIPS on VGG16: `openlrm.losses.LPIPS` for arrays, with no gradient.

    Features can be kept, for a picture that is compared more than once.
    """

    def __init__(self, backbone: str | os.PathLike | None = None) -> None:
        """Read the weights.

        Args:
            backbone: see `openlrm.losses.backbone.read_backbone`; the hub's without it.

        Raises:
            UserError: the weights are missing or another network's.
        """
        from openlrm.losses import LPIPS

        self._cell = LPIPS() if backbone is None else LPIPS(backbone)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """Mean distance of pictures (..., 3, H, W) in [0, 1], of one shape; 0 for equal ones."""
        pairs = zip(a.reshape(-1, *a.shape[-3:]), b.reshape(-1, *b.shape[-3:]), strict=True)
        return float(np.mean([self.distance(self.features(x), self.features(y)) for x, y in pairs]))

    def features(self, image: np.ndarray) -> Any:
        """What `distance` takes, of a picture (3, H, W) in [0, 1] with sides of `losses.lpips.MIN_SIDE` or more."""
        from mindspore import Tensor

        return self._cell.features(Tensor(np.ascontiguousarray(image[None], np.float32)))

    def distance(self, a: Any, b: Any) -> float:
        """Distance of two pictures of one size by their features."""
        return float(self._cell.compare(a, b).asnumpy()[0])
