"""The encoder's fused blocks against the differentiable ones, and when each is taken."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.errors import UserError
from openlrm.nn.encoders import ImageEncoder
from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.ops import fused

SPEC = EncoderSpec(img_size=56, embed_dim=128, depth=2, num_heads=2)
pytestmark = pytest.mark.usefixtures("pynative")


def make(freeze: bool, **changes) -> ImageEncoder:
    """Two blocks with no weight left at 0 or 1."""
    encoder = ImageEncoder(dataclasses.replace(SPEC, **changes), freeze)
    rng = np.random.default_rng(0)
    for _, parameter in encoder.parameters_and_names():
        noise = 0.1 * rng.standard_normal(parameter.shape)
        parameter.set_data(Tensor((parameter.asnumpy() + noise).astype(np.float32)))
    return encoder


def images() -> Tensor:
    """Two, of 4 x 4 patches and of another grid than the position table's."""
    return Tensor(np.random.default_rng(1).random((2, 3, 56, 70), np.float32))


@pytest.fixture
def calls(monkeypatch) -> list:
    """A number for every fused residual."""
    calls, original = [], fused.add_product
    monkeypatch.setattr(fused, "add_product", lambda *a: calls.append(1) or original(*a))
    return calls


@pytest.mark.parametrize("layer_scale", [True, False])
def test_same_numbers_as_the_differentiable_blocks(layer_scale, calls):
    encoder = make(False, layer_scale=layer_scale)
    expected = encoder.set_train(True)(images()).asnumpy()
    assert not calls
    found = encoder.set_train(False)(images()).asnumpy()
    assert len(calls) == 2 * 2 * 2
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found.shape == (2, 21, 128) and np.abs(found).std() > 0.3


def test_a_frozen_encoder_takes_them_in_training(calls):
    encoder = make(True)
    expected = encoder.set_train(False)(images()).asnumpy()
    np.testing.assert_array_equal(encoder.set_train(True)(images()).asnumpy(), expected)
    assert len(calls) == 2 * 2 * 2 * 2
    # A training step's gradient passes by it.
    scale = ms.Parameter(np.ones((), np.float32), name="scale")
    (gradient,) = ms.grad(lambda image: (encoder(image) * scale).sum(), None, [scale])(images())
    np.testing.assert_allclose(gradient.asnumpy(), expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("changes", [{"num_heads": 4}, {"ffn_layer": "swiglufused"}], ids=["heads of 32", "gated MLP"])
def test_what_does_not_fit_takes_the_other_way(changes, calls):
    encoder = make(True, **changes).set_train(False)
    assert np.isfinite(encoder(images()).asnumpy()).all() and not calls


def test_parameters_keep_one_name_each():
    names = [name for name, _ in make(True).parameters_and_names()]
    assert len(names) == len(set(names)) and not [name for name in names if "host" in name]


def test_a_gradient_is_refused_rather_than_wrong():
    encoder = make(False).set_train(False)
    with pytest.raises(UserError, match=r"call set_train\(True\)"):
        ms.grad(lambda image: encoder(image).sum(), None, encoder.trainable_params())(images())
