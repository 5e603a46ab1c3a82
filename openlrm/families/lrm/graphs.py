"""An LRM as two graphs of static shapes, for programs without this one."""

from __future__ import annotations

from mindspore import Tensor, nn

from openlrm.families.family import Graph
from openlrm.families.lrm.model import ModelLRM
from openlrm.representations.triplane.synthesizer import TriplaneSynthesizer


class PlanesGraph(nn.Cell):
    """Picture and camera to planes."""

    def __init__(self, model: ModelLRM):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, image: Tensor, camera: Tensor) -> Tensor:
        """(1, 3, S, S) in [0, 1], (1, 16) -> (1, 3, C, H, W)."""
        return self.model.planes_from_features(self.model.encoder(image), camera)


class FieldGraph(nn.Cell):
    """Planes and points to the field."""

    def __init__(self, synthesizer: TriplaneSynthesizer):
        super().__init__(auto_prefix=False)
        self.synthesizer = synthesizer

    def construct(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 3, C, H, W), (1, P, 3) -> density (1, P, 1), colour (1, P, 3)."""
        out = self.synthesizer.forward_points(planes, points)
        return out["sigma"], out["rgb"]


def graphs_of(model: ModelLRM, source_size: int, points: int) -> dict[str, Graph]:
    """Both, by name."""
    config = model.config
    side = config.triplane_high_res
    planes = (1, 3, config.triplane_dim, side, side)
    return {
        "planes": Graph(
            PlanesGraph(model), {"image": (1, 3, source_size, source_size), "camera": (1, 16)}, ("planes",)
        ),
        "field": Graph(
            FieldGraph(model.synthesizer), {"planes": planes, "points": (1, points, 3)}, ("density", "colour")
        ),
    }
