"""Every array that the published code computes with the miniature, by our Cells."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.families.geolrm.cells import cell_positions, select_cells
from openlrm.nn.encoders import pluecker_rays
from openlrm.nn.transformer.deformable import project_points
from openlrm.ops.token_layers import rotary_angles

VIEWS = ("images", "K", "c2w")


def near(found, wanted, tolerance):
    found = found.asnumpy() if isinstance(found, Tensor) else found
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def tensors(geo, *names):
    return [Tensor(geo[name]) for name in names]


def test_rays_and_projection(geo, pynative):
    _, intrinsics, c2w = tensors(geo, *VIEWS)
    near(pluecker_rays(intrinsics[0], c2w[0], 56, 56), geo["pluecker"], 1e-6)
    near(project_points(Tensor(geo["points"]), intrinsics, c2w), geo["uv"], 1e-6)


def test_encoder(geo, golden_geolrm, pynative):
    network = golden_geolrm().serializer
    images, intrinsics, c2w = tensors(geo, *VIEWS)
    assert network.encoder.sizes(56, 56) == tuple(map(tuple, geo["spatial_shapes"].tolist()))
    near(network.features(images, intrinsics, c2w), geo["encoder_features"], 1e-5)
    large = Tensor(geo["images_84"])
    near(network.features(large, intrinsics[:1], c2w[:1]), geo["encoder_features_84"], 1e-5)


def test_dinov2(geo, golden_geolrm, pynative):
    encoder = golden_geolrm().serializer.encoder
    mean, deviation = ([[[v]] for v in values] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalised = (geo["images"].reshape(6, 3, 56, 56) - np.float32(mean)) / np.float32(deviation)
    tokens = encoder.model(Tensor(normalised.astype(np.float32)))
    near(tokens.transpose(0, 2, 1).reshape(6, 48, 4, 4), geo["dino_features"], 1e-5)


def test_encoder_in_training(geo, golden_geolrm, pynative):
    network = golden_geolrm().serializer
    network.encoder.set_train(True)
    near(network.features(*tensors(geo, *VIEWS)), geo["encoder_features_train"], 1e-5)
    near(network.encoder.deconv[1].running_mean.asnumpy(), geo["running_mean_after"], 1e-5)
    near(network.encoder.low_level_encoder[1].running_var.asnumpy(), geo["running_var_after"], 1e-5)


def test_deformable_attention(geo, golden_geolrm, pynative):
    network = golden_geolrm().serializer
    layer, sizes = network.transformer.layers[0].cross_attention, network.encoder.sizes(56, 56)
    inputs = tensors(geo, "dca_query", "encoder_features", "uv")
    near(ms.ops.stack(layer.per_view(*inputs, sizes), 1), geo["dca_per_view"], 1e-5)
    near(layer(*inputs, sizes), geo["dca_out"], 1e-5)


@pytest.mark.parametrize("residual", ["normed", "raw"])
@pytest.mark.parametrize("attention", ["tokens", "released"])
def test_transformer_in_all_modes(geo, golden_geolrm, pynative, attention, residual):
    model = golden_geolrm(attention=attention, dca_residual=residual)
    network = model.lrm_generator
    images, intrinsics, c2w = tensors(geo, *VIEWS)
    points = Tensor(geo["points"])
    features, uv = network.features(images, intrinsics, c2w), project_points(points, intrinsics, c2w)
    angles = rotary_angles(network.index(points, 0.5), network.transformer.head_width)
    sizes = network.encoder.sizes(56, 56)
    block = network.transformer.layers[0](network.transformer.start(points), *angles, features, uv, sizes)
    near(block, geo[f"block_{attention}_{residual}"], 1e-5)
    near(model.latents(points, images, intrinsics, c2w), geo[f"latents_{attention}_{residual}"], 1e-5)


def test_rope_scale(geo, golden_geolrm, pynative):
    model = golden_geolrm(rope_scale=1.0)
    near(model.latents(*tensors(geo, "points", *VIEWS)), geo["latents_tokens_normed_scale1"], 1e-5)


@pytest.mark.parametrize(("attention", "name"), [("tokens", ""), ("released", "_released")])
def test_occupancy(geo, golden_geolrm, pynative, attention, name):
    model = golden_geolrm(attention=attention)
    near(model.occupancy(*tensors(geo, *VIEWS)), geo[f"occupancy_logits{name}"], 1e-5)


def test_selection(geo):
    cells = select_cells(geo["occupancy_logits"][0], 10**6)
    near(cell_positions(cells, 24, "corners"), geo["selected_0"], 1e-7)


def test_head(geo, golden_geolrm, pynative):
    found = golden_geolrm().gaussians(*tensors(geo, "points", "latents_tokens_normed"))
    for name, array in zip(("means", "scales", "rotations", "opacities", "colors"), found, strict=True):
        near(array, geo[f"gaussians_{name}"], 1e-5)


def test_the_golden_file_is_a_model(geo, geo_dir, geo_config, tmp_path, pynative):
    """From released names to ours, and back into a folder that loads."""
    import json
    import shutil

    from safetensors.numpy import load_file

    from openlrm.families.geolrm.model import GeoLRM

    shutil.copy(geo_dir / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "geolrm"} | geo_config))
    model = GeoLRM.from_pretrained(str(tmp_path))
    model.save_pretrained(str(tmp_path / "saved"))
    saved, golden = load_file(tmp_path / "saved" / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert saved.keys() == golden.keys()
    for name, value in golden.items():
        assert saved[name].dtype == value.dtype and (np.array_equal(saved[name], value) or value.ndim == 0), name
    again = GeoLRM.from_pretrained(str(tmp_path / "saved"))
    near(again.occupancy(*tensors(geo, *VIEWS)), geo["occupancy_logits"], 1e-5)
