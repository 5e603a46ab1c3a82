"""A batch in the layout of `openlrm.datasets`, made of the golden arrays; a model family of three numbers."""

from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn
from openlrm.families.lrm.step import GradientResult


@pytest.fixture
def batch(golden) -> dict[str, np.ndarray]:
    """The golden batch; its masks are made up."""
    target = golden["target"]
    random = np.random.default_rng(3)
    return {
        "source_camera": golden["source_camera"],
        "source_image": golden["image"],
        "render_camera": golden["render_cameras"],
        "render_image": target,
        "render_mask": random.random((*target.shape[:2], 1, *target.shape[3:])).astype(np.float32),
        "render_anchors": golden["render_anchors"],
        "render_full_resolutions": golden["render_resolutions"],
        "render_bg_colors": golden["render_bg_colors"],
    }


class ToyModel(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.array([[1.0, -2.0, 0.5]], np.float32)), name="weight")


class ToyGradient:
    """loss = mean (weight - target)^2; a batch is {"target": (3,)}."""

    def __init__(self, model):
        self.model, self.parameters = model, [model.weight]

    def __call__(self, batch, step, part=0, scale=1.0):
        difference = self.model.weight.asnumpy() - batch["target"]
        gradient = Tensor((2 * scale * difference / 3).astype(np.float32))
        return GradientResult({"loss": float((difference**2).mean())}, (gradient,), Tensor(0.0, ms.float32))

    def first_non_finite(self, batch, step, part=0):
        return "target" if not np.isfinite(batch["target"]).all() else "nothing when computed again"


def targets(*values):
    return [{"target": np.full((1, 3), value, np.float32)} for value in values]


@pytest.fixture
def toy(pynative):
    """The loop has to work with anything that has gradients."""
    return SimpleNamespace(Model=ToyModel, Gradient=ToyGradient, targets=targets)
