"""The field at points by the compiled loops, as one operation without a gradient."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from openlrm.ops.fused import InferenceOnly
from openlrm.ops.host.arrays import check_array, host_array
from openlrm.representations.triplane.host.field import DECODER_NAMES, lay_out
from openlrm.representations.triplane.host.renderer import evaluate_field


class HostPoints(InferenceOnly):
    """Colour and density of the fields of several objects; PyNative on a CPU."""

    def construct(self, planes: Tensor, points: Tensor, *decoder: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the fields.

        Args:
            planes: (N, 3, C, H, H).
            points: (N, P, 3).
            *decoder: weights of the field's decoder, in the order of `DECODER_NAMES`.

        Returns:
            rgb (N, P, 3) and density (N, P, 1), after softplus.
        """
        names = dict(zip(DECODER_NAMES, map(host_array, decoder), strict=True))
        of_object, points = host_array(planes), host_array(points)
        check_array(points, "points", (len(of_object), points.shape[1], 3))
        rgb, density = np.empty(points.shape, np.float32), np.empty(points.shape[:2], np.float32)
        for i, field_planes in enumerate(of_object):
            evaluate_field(lay_out(field_planes, names), points[i], density[i], rgb[i])
        return Tensor.from_numpy(rgb), Tensor.from_numpy(density[..., None])
