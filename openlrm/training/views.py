"""Posed views of one object, in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PosedViews:
    """Views of one object.

    Attributes:
        rgba: (V, S, S, 4) float32 in [0, 1], straight alpha.
        cameras: (V, 25), see `openlrm.cameras.build_render_camera`.
    """

    rgba: np.ndarray
    cameras: np.ndarray

    def take(self, indices) -> "PosedViews":
        """The views of these indices."""
        return PosedViews(self.rgba[indices], self.cameras[indices])
