"""The fused layers of inference against the differentiable ones, and when each is taken."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.errors import UserError
from openlrm.nn.transformer import TriplaneTransformer
from openlrm.ops import fused

pytestmark = pytest.mark.usefixtures("pynative")


def make(dim: int, heads: int, feature_dim: int) -> TriplaneTransformer:
    """Two layers with no weight left at 0 or 1."""
    transformer = TriplaneTransformer(2, dim, heads, feature_dim, 64)
    rng = np.random.default_rng(dim + feature_dim)
    for _, parameter in transformer.parameters_and_names():
        noise = 0.1 * rng.standard_normal(parameter.shape)
        parameter.set_data(Tensor((parameter.asnumpy() + noise).astype(np.float32)))
    return transformer


def inputs(dim: int, feature_dim: int) -> list[Tensor]:
    """Two samples; neither tokens nor features fill their last tile."""
    rng = np.random.default_rng(1)
    shapes = ((2, 150, dim), (2, 37, feature_dim), (2, 64))
    return [Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]


@pytest.mark.parametrize("feature_dim", [192, 128], ids=["own weights", "packed weights"])
def test_same_numbers_as_the_differentiable_layers(feature_dim):
    transformer, given = make(128, 2, feature_dim), inputs(128, feature_dim)
    tokens = given[0].asnumpy().copy()
    found = [transformer.set_train(training)(*given).asnumpy() for training in (True, False)]
    assert transformer.fits_host
    np.testing.assert_allclose(found[1], found[0], atol=3e-5)
    assert np.abs(found[0]).std() > 0.5
    np.testing.assert_array_equal(given[0].asnumpy(), tokens, err_msg="the input is changed")


def test_parameters_keep_one_name_each():
    names = [name for name, _ in make(128, 2, 192).parameters_and_names()]
    assert not [name for name in names if "host" in name]
    assert len(names) == 2 * 22 + 2 and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("dim", "heads", "feature_dim", "training", "taken"),
    [(128, 2, 192, False, True), (128, 2, 192, True, False), (128, 4, 192, False, False), (128, 2, 96, False, False)],
    ids=["inference", "training", "heads of 32", "features of 96"],
)
def test_when_they_are_taken(dim, heads, feature_dim, training, taken, monkeypatch):
    calls = []
    original = fused.add_product
    monkeypatch.setattr(fused, "add_product", lambda *a: calls.append(1) or original(*a))
    make(dim, heads, feature_dim).set_train(training)(*inputs(dim, feature_dim))
    assert len(calls) == (2 * 2 * 3 if taken else 0)


def test_not_in_graph_mode(monkeypatch):
    monkeypatch.setattr(fused, "add_product", None)
    transformer, given = make(128, 2, 192).set_train(False), inputs(128, 192)
    expected = transformer.set_train(True)(*given).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(transformer.set_train(False)(*given).asnumpy(), expected, atol=3e-5)


def test_a_gradient_is_refused_rather_than_wrong():
    transformer, (tokens, *rest) = make(128, 2, 192).set_train(False), inputs(128, 192)
    gradient = ms.grad(lambda x: transformer(x, *rest).sum())
    with pytest.raises(UserError, match=r"call set_train\(True\)"):
        gradient(tokens)
    transformer.set_train(True)
    assert np.abs(gradient(tokens).asnumpy()).max() > 0
