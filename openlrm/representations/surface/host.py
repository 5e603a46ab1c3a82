"""Heads of one object's triplane by compiled loops on the CPU, without a gradient; numpy in and out."""

from __future__ import annotations

import numpy as np

from openlrm.ops.host.arrays import host_array
from openlrm.representations.surface.heads import GeometryDecoder
from openlrm.representations.triplane.host.field import lay_out
from openlrm.utils.threads import spread_ranges

_TASK_POINTS = 16384


class HostHead:
    """A head of a `GeometryDecoder` with at most four outputs, its first layer folded into the planes.

    Args:
        planes: (3, C, H, H) float32.
        decoder: whose heads.
        name: of the head.
    """

    def __init__(self, planes: np.ndarray, decoder: GeometryDecoder, name: str):
        net = getattr(decoder, name)
        layers = {index: tuple(map(host_array, (net[index].weight, net[index].bias))) for index in (0, 2, 4, 6)}
        weight, bias = layers[6]
        self.outputs = len(bias)
        missing = 4 - self.outputs
        layers[6] = np.pad(weight, ((0, missing), (0, 0))), np.pad(bias, (0, missing))
        names = {f"net.{index}.weight": weight for index, (weight, _) in layers.items()}
        self._field = lay_out(planes, names | {f"net.{index}.bias": bias for index, (_, bias) in layers.items()})

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """What the head gives (P, outputs) at points (P, 3), before any activation."""
        from openlrm.representations.triplane.host.decoder import evaluate_raw

        points = np.ascontiguousarray(points, np.float32)
        out = np.empty((len(points), 4), np.float32)
        spread_ranges(
            lambda first, last: evaluate_raw(self._field, points[first:last], out[first:last]),
            len(points),
            _TASK_POINTS,
        )
        return out[:, : self.outputs]
