"""First weights that let the input through."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm import ModelLRM
from openlrm.cameras import default_source_pose
from openlrm.families.lrm.start import _look_where_it_appears, patch_table, strong_start, token_table
from openlrm.nn.transformer import MultiHeadAttention
from openlrm.training.watch import look_at

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


def test_tables_tell_every_place_from_every_other():
    for table in (patch_table(8, 64), token_table(16, 8, 64), token_table(5, 4, 100)):
        distances = np.linalg.norm(table[:, None] - table[None], axis=2) + 10 * np.eye(len(table))
        assert distances.min() > 0.1
    table = patch_table(8, 64)
    assert np.linalg.norm(table[0] - table[1]) < np.linalg.norm(table[0] - table[3])
    assert np.linalg.norm(table[0] - table[8]) < np.linalg.norm(table[0] - table[24])


def test_tokens_stand_where_they_appear_in_the_picture():
    """Likeness of a token of the (z, x) plane and the patches is greatest where a camera at 2.2 sees the point."""
    side, grid, width = 16, 8, 192
    likeness = token_table(side, grid, width)[side**2 : 2 * side**2] @ patch_table(grid, width).T
    pose = default_source_pose(2.2)
    for token in (0, 5, 8 * side + 3, 15 * side + 15):
        row, column = divmod(token, side)
        x, z = (2 * column + 1) / side - 1, (2 * row + 1) / side - 1
        local = pose[:, :3].T @ (np.array([x, 0, z]) - pose[:, 3])
        u, v = 0.5 + 0.75 * local[0] / -local[2], 0.5 - 0.75 * local[1] / -local[2]
        seen = divmod(int(likeness[token].argmax()), grid)
        assert abs(seen[0] + 0.5 - v * grid) <= 0.51 and abs(seen[1] + 0.5 - u * grid) <= 0.51


def test_what_a_plane_does_not_know_is_left_open():
    """A token of the (y, x) plane is as like one patch of a column as another, one of (y, z) of a row."""
    side, grid, width = 8, 4, 96
    likeness = (token_table(side, grid, width) @ patch_table(grid, width).T).reshape(3, side * side, grid, grid)
    assert np.ptp(likeness[0], axis=1).max() < 1e-9 < np.ptp(likeness[0], axis=2).min()
    assert np.ptp(likeness[2], axis=2).max() < 1e-9 < np.ptp(likeness[2], axis=1).min()


def test_cross_attention_begins_with_the_likeness_of_positions():
    """Scores of any two vectors of unit waves are the same in every head as far as waves can be shared out."""
    attention = MultiHeadAttention(192, 3)
    _look_where_it_appears(attention, np.random.default_rng(0))
    weights = attention.in_proj_weight.asnumpy()
    a, b = token_table(16, 8, 192)[300], patch_table(8, 192)[27]
    query, key = weights[:192] @ a, weights[192:384] @ b
    assert query @ key == pytest.approx(3 * a @ b, rel=1e-5)
    heads = (query * key).reshape(3, 64).sum(axis=1)
    assert np.ptp(heads) < 0.5 * abs(heads.mean())


def test_pictures_have_far_more_influence_than_with_the_usual_start(mini_config, double, task_of):
    sources = np.ones_like(double.source_images)
    sources[0, ..., 14:42, 14:42] = 0.3
    sources[1, ..., 7:28, 21:49] = 0.6
    # An encoder as wide as the transformer: then cross-attention starts aligned.
    config = mini_config | {"encoder_feat_dim": 64, "encoder": mini_config["encoder"] | {"embed_dim": 64}}
    ms.set_seed(0)
    usual, strong = ModelLRM(**config), ModelLRM(**config)
    strong_start(strong, 0, encoder=True)
    effects = []
    for model in (usual, strong):
        effects.append(look_at(task_of(model).render, double.with_sources(sources), 0).input_effect)
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
