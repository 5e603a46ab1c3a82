"""The miniature against the published implementation: encoder, transformer, field, renderer, in both modes."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from openlrm.losses import mask_loss, pixel_loss
from openlrm.nn.encoders.positions import resize_matrix

MODEL, RENDER = 1e-5, 5e-5


def assert_close(actual, expected: np.ndarray, tolerance: float, where=None, name: str = "") -> None:
    actual = actual.asnumpy() if isinstance(actual, Tensor) else actual
    assert actual.shape == expected.shape, name
    difference = np.abs(actual - expected)
    difference = difference if where is None else difference[where]
    assert difference.max() <= tolerance * max(np.abs(expected).max(), 1e-12), name


def test_position_table(arrays):
    table, wanted = arrays["pos_table"][0, 1:].reshape(14, 14, 2), arrays["pos_table_20x20"]
    matrix = resize_matrix(14, 20, False, 0.1)
    resized = np.einsum("ri,cj,ijd->rcd", matrix, matrix, table).reshape(1, 400, 2)
    assert_close(resized, wanted[:, 1:], MODEL)
    plain = resize_matrix(14, 20, False)
    assert np.abs(np.einsum("ri,cj,ijd->rcd", plain, plain, table).reshape(1, 400, 2) - wanted[:, 1:]).max() > 0.1


def test_encoder(mode, nerf, arrays):
    images, cameras = Tensor(arrays["images"]), Tensor(arrays["cameras"])
    embedding = nerf.encoder.camera_embedder(cameras)
    assert_close(embedding, arrays["camera_embedding"], MODEL)
    features = nerf.encoder(images, cameras)
    assert_close(features, arrays["encoder_features"].reshape(2, -1, 32), MODEL)
    oblong = nerf.encoder(Tensor(arrays["images_80x96"]), Tensor(arrays["cameras_80x96"]))
    assert_close(oblong, arrays["encoder_features_80x96"].reshape(1, -1, 32), MODEL)


def test_transformer(mode, nerf, arrays):
    features = Tensor(arrays["encoder_features"].reshape(2, -1, 32))
    start = ops.tile(nerf.transformer.pos_embed, (2, 1, 1))
    assert_close(nerf.transformer.layers[0](start, features), arrays["transformer_layer0"], MODEL)
    assert_close(nerf.transformer(start, features), arrays["tokens"], MODEL)


def test_planes(mode, nerf, arrays):
    assert_close(nerf(Tensor(arrays["images"]), Tensor(arrays["cameras"])), arrays["planes"], MODEL)


def test_field(mode, nerf, arrays):
    planes = Tensor(arrays["planes"])
    points = nerf.synthesizer.forward_points(planes, Tensor(arrays["points"]))
    grid = nerf.synthesizer.forward_grid(planes, 7)
    for name, field in (("points", points), ("grid", grid)):
        for key in ("rgb", "sigma"):
            assert_close(field[key], arrays[f"{name}_{key}"], MODEL, name=f"{name}_{key}")


def render(model, arrays, planes):
    """Whole pictures of 12 x 12."""
    views = Tensor(arrays["render_cameras"]), Tensor(np.zeros((2, 2, 2), np.float32))
    size, white = Tensor(np.full((2, 2, 1), 12, np.float32)), Tensor(np.ones((2, 2, 1), np.float32))
    draws = Tensor(arrays["render_noise"]), Tensor(arrays["render_u"])
    return model.synthesizer(planes, *views, size, white, 12, *draws)


def crop(model, arrays, planes):
    """A region of 24 x 24 pictures."""
    top, left, height, width = arrays["crop_params"].tolist()
    anchors = Tensor(np.tile(np.array([top, left], np.float32), (2, 2, 1)))
    size, white = Tensor(np.full((2, 2, 1), 24, np.float32)), Tensor(np.ones((2, 2, 1), np.float32))
    draws = Tensor(arrays["crop_noise"]), Tensor(arrays["crop_u"])
    view = (Tensor(arrays["render_cameras"]), anchors, size, white, (height, width))
    return model.synthesizer(planes, *view, *draws)


@pytest.mark.parametrize("kind", ["render", "crop"])
def test_renderer(mode, nerf, arrays, kind):
    planes = Tensor(arrays["planes"])
    out = (render if kind == "render" else crop)(nerf, arrays, planes)
    assert_close(out["images_rgb"], arrays[f"{kind}_rgb"], RENDER)
    assert_close(out["images_weight"], arrays[f"{kind}_weight"], RENDER)
    # Pixels at the smallest depth are at the clamp, which rays that miss the cube decide; here they are sampled apart.
    depth = arrays[f"{kind}_depth"]
    seen = depth > depth.min() * (1 + 1e-6)
    assert seen.mean() > 0.3
    # Other orders of rounding, which importance sampling amplifies: one pixel of the crop is at 5.2e-5.
    assert np.sort(np.abs(out["images_depth"].asnumpy() - depth)[seen])[-2] <= RENDER * depth.max()
    assert_close(out["images_depth"], depth, 2 * RENDER, seen)


class StageOne(nn.Cell):
    """Stage 1's loss on the golden crop, without LPIPS; colours in -1..1."""

    def __init__(self, model, arrays):
        super().__init__()
        self.model, self.arrays = model, arrays

    def construct(self, images, cameras, target, alpha):
        out = crop(self.model, self.arrays, self.model(images, cameras))
        colour = 4 * pixel_loss(ops.clamp(out["images_rgb"], 0, 1), target)
        mask = mask_loss(ops.clamp(out["images_weight"], 0, 1), alpha)
        return colour + mask, colour, mask


def test_stage_one_and_every_gradient(pynative, nerf, arrays, gradients):
    cell = StageOne(nerf, arrays)
    cell.set_train(True)
    names = [name for name, _ in nerf.parameters_and_names()]
    weights = ms.ParameterTuple([parameter for _, parameter in nerf.parameters_and_names()])
    keys = ("images", "cameras", "target_images", "target_alphas")
    losses, found = ms.value_and_grad(cell, None, weights, has_aux=True)(*(Tensor(arrays[key]) for key in keys))
    for loss, key in zip(losses, ("loss_stage1", "loss_stage1_mse", "loss_stage1_mask"), strict=True):
        np.testing.assert_allclose(float(loss), float(arrays[key]), rtol=RENDER)
    from openlrm.families.instantmesh.weights import to_release

    released = to_release({name: gradient.asnumpy() for name, gradient in zip(names, found, strict=True)})
    assert released.keys() == {name.removeprefix("grad/") for name in gradients if name.startswith("grad/")}
    for name, gradient in released.items():
        wanted = gradients[f"grad/{name}"]
        if name.endswith("attention.key.bias"):
            assert np.abs(gradient).max() < 1e-7
        else:
            assert np.linalg.norm(gradient - wanted) <= 1e-3 * np.linalg.norm(wanted), name


def test_views_have_no_order_and_cameras_count(pynative, nerf, arrays):
    images, cameras = arrays["images"][:1], arrays["cameras"][:1]
    planes = nerf(Tensor(images), Tensor(cameras)).asnumpy()
    order = [2, 0, 1]
    turned = nerf(Tensor(images[:, order]), Tensor(cameras[:, order])).asnumpy()
    assert_close(turned, planes, MODEL)
    exchanged = nerf(Tensor(images), Tensor(cameras[:, order])).asnumpy()
    assert np.abs(exchanged - planes).max() > 1e-2 * np.abs(planes).max()


def test_without_modulation_it_is_a_plain_vit(pynative, nerf, arrays):
    images, cameras = Tensor(arrays["images"]), Tensor(arrays["cameras"])
    for block in nerf.encoder.model.blocks:
        for parameter in block.adaLN_modulation.get_parameters():
            parameter.set_data(ops.zeros_like(parameter))
    plain = nerf.encoder.model(images.reshape(6, 3, 80, 80))
    assert_close(nerf.encoder(images, cameras), plain.asnumpy().reshape(2, -1, 32), 1e-6)


def test_zero_is_where_the_modulation_starts(pynative, sizes):
    from openlrm.families.instantmesh.model import ModelInstantMesh

    model = ModelInstantMesh(kind="nerf", **sizes)
    for block in model.encoder.model.blocks:
        assert not any(parameter.asnumpy().any() for parameter in block.adaLN_modulation.get_parameters())
