"""Names of weights in all forms, both ways; the start of the mesh model; strictness."""

import json
import shutil

import numpy as np
import pytest

from openlrm.checkpoint import locate_model, parameter_arrays, read_tensors, save_model, write_ckpt
from openlrm.errors import UserError
from openlrm.families import find_family
from openlrm.families.instantmesh.weights import from_checkpoint, surface_start, to_release
from openlrm.families.reconstructor import build_model


def of_kind(tensors, kind):
    """The released names that a model of this kind has."""
    other = "synthesizer.decoder.net." if kind == "mesh" else "synthesizer.decoder.net_"
    return {name: value for name, value in tensors.items() if not name.startswith(other)}


def mindone(tensors):
    """The names of mindone's converted files."""
    renamed = {}
    for name, value in tensors.items():
        if "norm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        renamed[f"lrm_generator.{name}"] = value
    return renamed


@pytest.fixture(params=["nerf", "mesh"])
def kind(request):
    return request.param


def test_released_names_both_ways(pynative, make, tensors, kind):
    arrays, wanted = parameter_arrays(make(kind)), of_kind(tensors, kind)
    released = to_release(arrays)
    assert released.keys() == wanted.keys()
    assert all(np.array_equal(released[name], wanted[name]) for name in wanted)
    back = from_checkpoint(released, set(arrays))
    assert back.keys() == arrays.keys() and all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_files_of_every_form_give_the_same_model(pynative, make, sizes, tensors, kind, tmp_path):
    wanted = parameter_arrays(make(kind))
    released = of_kind(tensors, kind)
    config = {"model_type": "instantmesh", "kind": kind, **sizes}
    for form in ("folder", "with loss network", "mindone", "own ckpt"):
        folder = tmp_path / form
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        if form == "folder":
            save_model(folder, config, released)
        elif form == "with loss network":
            beside = {"lpips.net.0.weight": np.zeros(3, np.float32)}
            write_ckpt(folder / "last.ckpt", {f"lrm_generator.{k}": v for k, v in released.items()} | beside)
        elif form == "mindone":
            write_ckpt(folder / "last.ckpt", mindone(released))
        else:
            write_ckpt(folder / "last.ckpt", wanted)
        found = parameter_arrays(build_model(locate_model(str(folder))))
        assert found.keys() == wanted.keys() and all(np.array_equal(found[n], wanted[n]) for n in wanted), form


def test_what_does_not_fit_is_named(pynative, sizes, tensors, tmp_path):
    config = {"model_type": "instantmesh", "kind": "mesh", **sizes}
    save_model(tmp_path, config, of_kind(tensors, "nerf"))
    with pytest.raises(
        UserError, match=r"32 missing: synthesizer.decoder.net_.*8 left over: synthesizer.decoder.net\."
    ):
        build_model(locate_model(str(tmp_path)))


def test_the_lightning_form_is_read_strictly(pynative, folder, sizes, tmp_path):
    """The golden file is a small part of a model: what it lacks is told, and nothing of its pickle runs."""
    shutil.copy(folder / "lightning.ckpt", tmp_path / "instant_nerf_base.ckpt")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "instantmesh", "kind": "nerf", **sizes}))
    with pytest.raises(UserError, match="missing"):
        build_model(locate_model(str(tmp_path / "instant_nerf_base.ckpt")))
    with np.load(folder / "lightning_expected.npz") as expected:
        ours = from_checkpoint(read_tensors(folder / "lightning.ckpt"), set(expected.files))
        assert set(expected.files) <= set(ours)


def test_the_mesh_model_starts_from_the_volume(pynative, make, arrays):
    volume, fresh = parameter_arrays(make("nerf")), parameter_arrays(make("mesh"))
    start = surface_start(volume, fresh, level=10.0)
    assert start.keys() == fresh.keys()
    for name in (name for name in arrays if name.startswith("init/")):
        assert np.array_equal(start[name.replace("init/", "synthesizer.decoder.")], arrays[name]), name
    for name in fresh:
        if "net_deformation" in name or "net_weight" in name:
            assert np.array_equal(start[name], fresh[name])
    assert float(surface_start(volume, fresh, 2.0)["synthesizer.decoder.net_sdf.6.bias"][0]) == pytest.approx(
        float(arrays["init/net_sdf.6.bias"][0]) - 8, rel=1e-6
    )
    with pytest.raises(UserError, match="stage 1"):
        surface_start(fresh, fresh, 10.0)


def test_the_start_is_the_level_less_the_density(pynative, make, arrays):
    """s = level - raw density at any point."""
    from mindspore import Tensor

    from openlrm.checkpoint import apply_tensors
    from openlrm.ops import build_table

    volume, surface = make("nerf"), make("mesh")
    start = surface_start(parameter_arrays(volume), parameter_arrays(surface), 2.0)
    apply_tensors(surface, start, "start")
    planes, points = Tensor(arrays["planes"][:1]), Tensor(arrays["points"][:1])
    raw = volume.synthesizer.decoder(build_table(planes), points)[0].asnumpy()
    features = surface.synthesizer.decoder.features(build_table(planes), points[0])
    sdf = surface.synthesizer.decoder.distances(features).asnumpy()
    np.testing.assert_allclose(sdf, 2.0 - raw[:, 0], atol=1e-5)
    colors = surface.synthesizer.decoder.colors(features).asnumpy()
    np.testing.assert_allclose(colors, raw[:, 1:], atol=1e-5)


def test_presets_say_what_their_models_are(pynative):
    from mindspore.nn.utils import no_init_parameters

    family = find_family("instantmesh")
    for preset in family.presets():
        with no_init_parameters():
            model = family.build(preset.config)
        assert sum(parameter.size for parameter in model.get_parameters()) == preset.parameters
        assert family.source_size(preset.config) == preset.source_size
