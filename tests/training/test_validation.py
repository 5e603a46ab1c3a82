"""Validation against the model rendered directly."""

import numpy as np
import pytest
from mindspore import Tensor

from openlrm.datasets import DataConfig, SubsetConfig, ValidationItems
from openlrm.inference.scene import Scene
from openlrm.metrics import psnr
from openlrm.training.validation import Validator

SIZE, VIEWS = 12, 3


@pytest.fixture
def items(golden_dir):
    root = golden_dir.parents[1] / "assets" / "sample_object"
    data = DataConfig(subsets=[SubsetConfig(root_dirs=[str(root)])], source_image_res=56)
    return ValidationItems(data, None, SIZE, VIEWS)


def test_figures_are_of_the_views_beside_the_input(pynative, mini, items):
    result = Validator(items, 5, "training")(mini)
    item = items.view_item("food_dinner")
    planes = mini.forward_planes(Tensor(item["source_image"][None]), Tensor(item["source_camera"][None]))
    shown = [v.rgb.transpose(2, 0, 1) for v in Scene(planes, mini.synthesizer).views(item["render_camera"], SIZE)]
    expected = np.mean([psnr(shown[i], item["render_image"][i]) for i in range(1, VIEWS)])
    assert result.scalars["psnr"] == pytest.approx(expected, abs=1e-3)
    assert set(result.scalars) == {"psnr", "psnr_object", "ssim"}
    assert result.sheet.shape == (2 * SIZE, VIEWS * SIZE, 3)
    np.testing.assert_allclose(result.sheet[:SIZE, :SIZE].transpose(2, 0, 1), item["render_image"][0], atol=1e-6)


def test_training_goes_on_after_it(pynative, mini, items):
    Validator(items, 1, "training")(mini)
    assert mini.training
    assert mini.synthesizer.training
