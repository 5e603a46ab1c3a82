"""Validation against the model rendered directly."""

import numpy as np
import pytest
from mindspore import Tensor

from openlrm.datasets import DataConfig, SubsetConfig, ValidationItems
from openlrm.metrics import psnr
from openlrm.representations.triplane import Triplane
from openlrm.training.validation import Validator

SIZE, VIEWS = 12, 3


@pytest.fixture
def items(repo):
    data = DataConfig([SubsetConfig([str(repo / "assets" / "sample_object")])])
    return ValidationItems(data, None, VIEWS)


def test_figures_are_of_the_views_beside_the_input(pynative, mini, items, task_of):
    result = Validator(items, 5, SIZE, "training")(task_of(mini).reconstruct)
    views = items.views("food_dinner")
    source, _ = views.take([0]).on(1.0, 56)
    planes = mini.forward_planes(Tensor(source), Tensor(views.cameras[:1].source_record()))
    shown = [v.rgb.transpose(2, 0, 1) for v in Triplane(planes, mini.synthesizer).views(views.cameras, SIZE)]
    truth, _ = views.on(1.0, SIZE)
    expected = np.mean([psnr(shown[i], truth[i]) for i in range(1, VIEWS)])
    assert result.scalars["psnr"] == pytest.approx(expected, abs=1e-3)
    assert set(result.scalars) == {"psnr", "psnr_object", "ssim"}
    assert result.sheet.shape == (2 * SIZE, VIEWS * SIZE, 3)
    np.testing.assert_allclose(result.sheet[:SIZE, :SIZE].transpose(2, 0, 1), truth[0], atol=1e-6)
