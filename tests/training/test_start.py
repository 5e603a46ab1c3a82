"""First weights that let the input through."""

import numpy as np
import pytest
from mindspore import Tensor

from openlrm.models import ModelLRM
from openlrm.training.start import sine_cosine_table, strong_start

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture
def fresh(mini_config):
    model = ModelLRM(**mini_config)
    strong_start(model, 0, encoder=True)
    return model


def test_white_embeds_to_nothing_and_black_to_about_one(fresh):
    embed = fresh.encoder.model.patch_embed
    white = embed(Tensor(np.ones((1, 3, 56, 56), np.float32))).asnumpy()
    black = embed(Tensor(np.zeros((1, 3, 56, 56), np.float32))).asnumpy()
    assert np.abs(white).max() < 1e-4
    assert 0.7 < black.std() < 3


def test_table_tells_every_place_from_every_other():
    table = sine_cosine_table(16, 66)
    assert table.shape == (256, 66)
    distances = np.linalg.norm(table[:, None] - table[None], axis=2) + 10 * np.eye(256)
    assert distances.min() > 0.5
    # Neighbours are nearer than strangers, in rows and in columns.
    assert distances[0, 1] < distances[0, 5]
    assert distances[0, 16] < distances[0, 5 * 16]


def test_pictures_have_far_more_influence_than_with_the_usual_start(fresh, mini_config, batch):
    from openlrm.training.config import LossConfig
    from openlrm.training.step import LRMGradient
    from openlrm.training.watch import look_at

    double = {key: np.concatenate([value[:1], value[:1]]) for key, value in batch.items()}
    double["source_image"] = np.ones_like(double["source_image"])
    double["source_image"][0, :, 14:42, 14:42] = 0.3
    double["source_image"][1, :, 7:28, 21:49] = 0.6
    effects = []
    for model in (ModelLRM(**mini_config), fresh):
        gradient = LRMGradient(model, LossConfig(perceptual_weight=0.0), 12, 0)
        effects.append(look_at(gradient, double, 0).input_effect)
    assert effects[1] > 5 * effects[0]


def test_loaded_encoder_is_left_alone(mini):
    before = {name: p.asnumpy().copy() for name, p in mini.encoder.parameters_and_names()}
    strong_start(mini, 0, encoder=False)
    for name, p in mini.encoder.parameters_and_names():
        np.testing.assert_array_equal(p.asnumpy(), before[name])


def test_same_seed_same_weights(mini_config):
    models = [ModelLRM(**mini_config) for _ in range(2)]
    for model in models:
        strong_start(model, 3, encoder=True)
    a, b = (m.synthesizer.decoder.net[2].weight.asnumpy() for m in models)
    np.testing.assert_array_equal(a, b)
