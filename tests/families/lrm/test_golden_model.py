"""The miniature model against the published PyTorch implementation, in PyNative and graph mode."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.losses import pixel_loss, total_variation

# The golden arrays were made in float32 by other kernels: 1e-4 of an array's scale; gradients 1e-3, since the
# renderer's clamps and bins amplify rounding.
VALUE_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3


def assert_close(actual: Tensor, expected: np.ndarray, tolerance: float = VALUE_TOLERANCE, name: str = "") -> None:
    actual = actual.asnumpy()
    assert actual.shape == expected.shape
    scale = max(np.abs(expected).max(), 1e-12)
    assert np.abs(actual - expected).max() <= tolerance * scale, name


def render(model, arrays, planes):
    t = {k: Tensor(arrays[k]) for k in arrays if k.startswith("render_") or k in ("stratified_noise", "importance_u")}
    return model.synthesizer(
        planes,
        t["render_cameras"],
        t["render_anchors"],
        t["render_resolutions"],
        t["render_bg_colors"],
        12,
        t["stratified_noise"],
        t["importance_u"],
    )


@pytest.mark.parametrize("image, features", [("image", "encoder_features"), ("image_70", "encoder_features_70")])
def test_encoder(mode, mini, golden, image, features):
    assert_close(mini.encoder(Tensor(golden[image])), golden[features])


def test_transformer_stages(mode, mini, golden):
    camera = mini.camera_embedder(Tensor(golden["source_camera"]))
    assert_close(camera, golden["camera_embedding"])
    features = Tensor(golden["encoder_features"])
    start = ms.ops.tile(mini.pos_embed, (2, 1, 1))
    assert_close(mini.transformer.layers[0](start, features, camera), golden["layer0_output"])
    assert_close(mini.transformer(start, features, camera), golden["tokens"])


def test_planes(mode, mini, golden):
    planes = mini.forward_planes(Tensor(golden["image"]), Tensor(golden["source_camera"]))
    assert_close(planes, golden["planes"])


def test_field(mode, mini, golden):
    planes = Tensor(golden["planes"])
    points = mini.synthesizer.forward_points(planes, Tensor(golden["points"]))
    assert_close(points["rgb"], golden["points_rgb"])
    assert_close(points["sigma"], golden["points_sigma"])
    grid = mini.synthesizer.forward_grid(planes, 9)
    assert_close(grid["rgb"], golden["grid_rgb"])
    assert_close(grid["sigma"], golden["grid_sigma"])


def test_renderer(mode, mini, golden):
    out = render(mini, golden, Tensor(golden["planes"]))
    for key in ("images_rgb", "images_depth", "images_weight"):
        assert_close(out[key], golden[key], name=key)


class GoldenLoss(nn.Cell):
    """loss = MSE + 5e-4 TV of the whole model on the golden batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def construct(self, image, camera, cameras, anchors, resolutions, backgrounds, noise, u, target):
        out = self.model(image, camera, cameras, anchors, resolutions, backgrounds, 12, noise, u)
        pixel, tv = pixel_loss(out["images_rgb"], target), total_variation(out["planes"])
        return pixel + 5e-4 * tv, pixel, tv


def test_loss_and_every_gradient(mode, mini, golden):
    loss_cell = GoldenLoss(mini)
    loss_cell.set_train(True)
    weights = ms.ParameterTuple([p for _, p in mini.parameters_and_names()])
    names = [name for name, _ in mini.parameters_and_names()]
    keys = [
        "image",
        "source_camera",
        "render_cameras",
        "render_anchors",
        "render_resolutions",
        "render_bg_colors",
    ]
    inputs = [Tensor(golden[k]) for k in [*keys, "stratified_noise", "importance_u", "target"]]
    (loss, pixel, tv), gradients = ms.value_and_grad(loss_cell, None, weights, has_aux=True)(*inputs)
    assert_close(loss, golden["loss"])
    assert_close(pixel, golden["loss_pixel"])
    assert_close(tv, golden["loss_tv"])
    expected = {k.removeprefix("grad/") for k in golden if k.startswith("grad/")}
    assert set(names) == expected
    for name, gradient in zip(names, gradients, strict=True):
        assert_close(gradient, golden[f"grad/{name}"], GRADIENT_TOLERANCE, name)
