"""Properties of the networks, on a model small enough to need no golden files."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.cameras import Camera, turntable
from openlrm.errors import UserError
from openlrm.families.geolrm.cells import cell_positions, cells_of_points, select_cells, token_positions
from openlrm.families.geolrm.config import GeoLRMConfig
from openlrm.families.geolrm.reconstruct import camera_tensors, reconstruct
from openlrm.nn.encoders.hierarchical import _doubled
from openlrm.nn.transformer.deformable import project_points
from openlrm.ops import setup_device


@pytest.fixture
def views():
    """Pictures (1, 3, 3, 28, 28), intrinsics and poses of three views."""
    rng = np.random.default_rng(1)
    pictures = rng.random((3, 3, 28, 28), np.float32)
    return pictures, Camera(turntable(3))


def inputs(views):
    pictures, cameras = views
    return Tensor(pictures[None]), *camera_tensors(cameras[None])


def anchors(count, seed=0):
    rng = np.random.default_rng(seed)
    return Tensor(cell_positions(rng.integers(0, 8, (1, count, 3)), 8, "corners"))


def test_tokens_do_not_depend_on_their_order(small_geolrm, views, pynative):
    points, order = anchors(10), np.random.default_rng(2).permutation(10)
    model = small_geolrm()
    one = model.latents(points, *inputs(views)).asnumpy()
    other = model.latents(Tensor(points.asnumpy()[:, order]), *inputs(views)).asnumpy()
    np.testing.assert_allclose(other, one[:, order], atol=2e-6 * np.abs(one).max())


def test_released_attention_depends_on_the_order(small_geolrm, views, pynative):
    points, order = anchors(10), np.random.default_rng(2).permutation(10)
    model = small_geolrm(attention="released")
    one = model.latents(points, *inputs(views)).asnumpy()
    other = model.latents(Tensor(points.asnumpy()[:, order]), *inputs(views)).asnumpy()
    assert np.abs(other - one[:, order]).max() > 1e-3 * np.abs(one).max()


def test_views_may_come_in_any_order(small_geolrm, views, pynative):
    pictures, cameras = views
    model, points, order = small_geolrm(), anchors(10), [2, 0, 1]
    one = model.latents(points, *inputs(views)).asnumpy()
    other = model.latents(points, *inputs((pictures[order], cameras[order]))).asnumpy()
    np.testing.assert_allclose(other, one, atol=2e-6 * np.abs(one).max())


def test_a_camera_that_turns_with_the_points_sees_the_same(pynative):
    rng = np.random.default_rng(3)
    points = rng.random((1, 5, 3), np.float32) - 0.5
    intrinsics, c2w = camera_tensors(Camera(turntable(4))[None])
    angle = 0.7
    turn = np.eye(4, dtype=np.float32)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    one = project_points(Tensor(points), intrinsics, c2w).asnumpy()
    other = project_points(Tensor(points @ turn[:3, :3].T), intrinsics, Tensor(turn @ c2w.asnumpy())).asnumpy()
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_projection_is_the_cameras_own(pynative):
    points = np.random.default_rng(4).random((6, 3), np.float32) - 0.5
    cameras = Camera(turntable(4), (1.1, 0.9, 0.52, 0.47))
    uv, _ = cameras.project(2 * points)  # the scene's cube is twice the networks'
    found = project_points(Tensor(points[None]), *camera_tensors(cameras[None])).asnumpy()[0]
    np.testing.assert_allclose(found, uv, atol=1e-4 / 448)


def test_doubling_is_a_transposed_convolution(pynative):
    rng = np.random.default_rng(5)
    x, weight = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(4, 6, 4, 4))
    wanted = np.zeros((2, 6, 10, 6))
    padded = np.zeros((2, 6 + 2, 10 + 2, 6))
    for i in range(3):
        for j in range(5):
            padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nc,cdkl->nkld", x[:, i, j], weight)
    wanted = padded[:, 1:-1, 1:-1].reshape(-1, 6)
    found = _doubled(Tensor(x.astype(np.float32)), Tensor(weight.astype(np.float32))).asnumpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_dropout_is_the_same_again_from_the_same_seed(small_geolrm, views, pynative):
    sizes = {"transformer_dim": 24, "transformer_layers": 1, "transformer_heads": 2, "token_res": 4}
    model = small_geolrm(serializer=sizes | {"dropout": 0.5})
    network, still = model.serializer, model.occupancy(*inputs(views)).asnumpy()
    network.transformer.set_train(True)
    drawn = []
    for seed in (1, 1, 2):
        network.transformer.dropout.reseed(seed)
        drawn.append(network(*inputs(views)).asnumpy())
    network.set_train(False)
    assert np.array_equal(drawn[0], drawn[1]) and not np.allclose(drawn[0], drawn[2])
    assert np.array_equal(model.occupancy(*inputs(views)).asnumpy(), still)


def test_graph_mode_gives_the_same(small_geolrm, views, pynative):
    pictures, cameras = views
    network, fewer = small_geolrm().lrm_generator, inputs((pictures[:2], cameras[:2]))
    wanted = network(anchors(6), *fewer).asnumpy()
    setup_device("CPU", 0)
    try:
        found = network(anchors(6), *fewer).asnumpy()
    finally:
        setup_device("CPU", 1)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_gradients_agree_with_finite_differences(small_geolrm, views, pynative):
    """Of parts of both levels of the encoder, the offsets, the views' weights and the head."""
    model, points, rest = small_geolrm(), anchors(6), inputs(views)
    weight = Tensor(np.random.default_rng(6).normal(size=(1, 12, 14)).astype(np.float32))

    def loss(points, *rest):
        parts = model(points, *rest)
        return (ms.ops.concat(parts, -1) * weight).sum()

    layer = "lrm_generator.transformer.layers.0."
    chosen = [
        "lrm_generator.encoder.deconv.0.weight",
        "lrm_generator.encoder.low_level_encoder.0.weight",
        f"{layer}cross_attention.cross_view_weight.weight",
        f"{layer}self_attention.wk.weight",
        "lrm_generator.transformer.query_token",
        "lrm_generator.renderer.latent_decoder.0.weight",
    ]
    named = dict(model.parameters_and_names())
    parameters = ms.ParameterTuple([named[name] for name in chosen])
    gradients = ms.grad(loss, None, parameters)(points, *rest)
    rng = np.random.default_rng(7)
    for name, parameter, gradient in zip(chosen, parameters, gradients, strict=True):
        start, way = parameter.asnumpy().copy(), rng.normal(size=parameter.shape).astype(np.float32)
        step = 3e-3 / np.abs(way).max()
        sums = []
        for sign in (1, -1):
            parameter.set_data(Tensor(start + sign * step * way))
            sums.append(float(loss(points, *rest).asnumpy()))
        parameter.set_data(Tensor(start))
        found, wanted = float((gradient.asnumpy() * way).sum()), (sums[0] - sums[1]) / (2 * step)
        assert abs(found - wanted) <= 0.02 * max(abs(found), np.linalg.norm(gradient.asnumpy())), name


def test_reconstruction_of_pictures(small_geolrm, views, pynative):
    pictures, cameras = views
    scene = reconstruct(small_geolrm(occupancy_threshold=-100.0, max_seq_len=50), pictures, cameras)
    assert len(scene.gaussians) == 100 and scene.non_finite() is None
    (view,) = scene.views(cameras[:1], 32)
    assert view.rgb.shape == (32, 32, 3) and view.mask.shape == (32, 32)


def test_auto_attention_keeps_the_better_one(small_geolrm, views, pynative, caplog):
    pictures, cameras = views
    switches = {"occupancy_threshold": -100.0, "max_seq_len": 50}
    with caplog.at_level("INFO"):
        best = reconstruct(small_geolrm(attention="auto", **switches), pictures, cameras)
    told = [float(record.args[1]) for record in caplog.records if record.msg.startswith("attention=")]
    kind = ("tokens", "released")[int(np.argmax(told))]
    alone = reconstruct(small_geolrm(attention=kind, **switches), pictures, cameras)
    assert len(told) == 2
    np.testing.assert_array_equal(best.gaussians.means, alone.gaussians.means)


def test_nothing_occupied_is_told(small_geolrm, views, pynative):
    with pytest.raises(UserError, match="no cell is occupied: the largest logit.*occupancy_threshold=100"):
        reconstruct(small_geolrm(occupancy_threshold=100.0), *views)


def test_selection_is_reproducible_and_in_order():
    logits = np.random.default_rng(8).normal(size=(8, 8, 8))
    whole = select_cells(logits, 1000)
    assert np.array_equal(np.ravel_multi_index(whole.T, logits.shape), np.flatnonzero(logits.reshape(-1) > 0))
    some = select_cells(logits, 20, seed=3)
    assert np.array_equal(some, select_cells(logits, 20, seed=3)) and not np.array_equal(some, select_cells(logits, 20))
    assert (np.diff(np.ravel_multi_index(some.T, logits.shape)) > 0).all()
    top = select_cells(logits, 20, subset="top")
    assert logits[tuple(top.T)].min() == np.sort(logits.reshape(-1))[-20]


@pytest.mark.parametrize("grid", [8, 128])
def test_centres_are_the_cells_that_points_fall_into(grid):
    index = np.arange(grid)[:, None].repeat(3, 1)
    points = cell_positions(index, grid, "centres")
    assert np.array_equal(cells_of_points(points, grid, "centres"), index)
    assert np.array_equal(token_positions(4, "corners")[-1], np.full(3, 0.5, np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": 3}, "unknown keys.*sizes"),
        ({"serializer": {"transformer_dim": 25}}, "heads of a multiple of 6"),
        ({"serializer": {"depth": 2}}, "unknown keys.*serializer.depth"),
        ({"lrm_generator": {"scale_max": -1.0}}, "scale_max is not above 0"),
        ({"grid_size": 9}, "does not divide grid_size=9"),
        ({"max_seq_len": 0}, "max_seq_len=0 is not a positive"),
        ({"attention": "heads"}, "attention='heads' is not one of tokens, released, auto"),
        ({"encoder_model_name": "resnet"}, "unknown encoder_model_name 'resnet'"),
    ],
)
def test_bad_configs(change, words):
    with pytest.raises(UserError, match=words):
        _ = GeoLRMConfig.from_dict(change).encoder_spec


def test_a_proposal_alone_has_no_gaussians(small_geolrm, views, pynative):
    model = small_geolrm(networks="proposal", occupancy_threshold=-100.0)
    assert not any(name.startswith("lrm_generator") for name, _ in model.parameters_and_names())
    with pytest.raises(UserError, match="no reconstruction network"):
        reconstruct(model, *views)
