"""The converter of released InstantMeshes, on the sizes of the tiny preset."""

import json
import runpy

import numpy as np
import pytest

from openlrm.checkpoint import locate_model, parameter_arrays, write_ckpt
from openlrm.families import find_family
from openlrm.families.reconstructor import build_model


@pytest.fixture(scope="module")
def convert(repo):
    return runpy.run_path(str(repo / "scripts" / "instantmesh" / "convert_pt2ms.py"))


@pytest.fixture
def released(pynative, tmp_path):
    """A file as released, with a loss network beside the model; and the model."""
    family = find_family("instantmesh")
    (preset,) = (preset for preset in family.presets() if preset.name == "tiny")
    model = family.build(preset.config)
    tensors = {f"lrm_generator.{name}": value for name, value in family.release(model).items()}
    write_ckpt(tmp_path / "instant.ckpt", tensors | {"lpips.scale": np.ones(3, np.float32)})
    return tmp_path / "instant.ckpt", model


@pytest.mark.parametrize("target", ["model", "model/own.ckpt"])
def test_a_release_is_converted(convert, released, tmp_path, target, capsys):
    source, model = released
    assert convert["main"](["--src", str(source), "--trgt", str(tmp_path / target)]) == 0
    assert "(nerf, 3 layers)" in capsys.readouterr().out
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["model_type"], config["source_size"]) == ("instantmesh", 96)
    found, wanted = parameter_arrays(build_model(locate_model(str(tmp_path / "model")))), parameter_arrays(model)
    assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_other_weights_are_refused(convert, tmp_path):
    from openlrm.errors import UserError

    write_ckpt(tmp_path / "a.ckpt", {"lrm_generator.x": np.ones(3, np.float32)})
    with pytest.raises(UserError, match="of no released InstantMesh"):
        convert["convert"](tmp_path / "a.ckpt", tmp_path / "model")
    assert not (tmp_path / "model").exists()
