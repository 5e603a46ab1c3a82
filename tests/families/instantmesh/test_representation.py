"""From pictures and cameras to a representation through the seams that every family has."""

import json

import numpy as np
import pytest
import trimesh

import openlrm
from openlrm.cameras import Camera, turntable
from openlrm.checkpoint import save_model
from openlrm.errors import UserError
from openlrm.representations import read_representation
from openlrm.representations.surface import TriplaneSurface
from openlrm.representations.triplane import Triplane


@pytest.fixture
def release(sizes, tensors, tmp_path):
    """(kind) -> a release folder of the miniature."""

    def write(kind: str):
        other = "synthesizer.decoder.net." if kind == "mesh" else "synthesizer.decoder.net_"
        kept = {name: value for name, value in tensors.items() if not name.startswith(other)}
        config = {"model_type": "instantmesh", "kind": kind, **sizes}
        save_model(tmp_path / kind, config, kept)
        return str(tmp_path / kind)

    return write


@pytest.fixture
def pictures(arrays):
    return list(arrays["images"][0].transpose(0, 2, 3, 1)), Camera.from_source_record(arrays["cameras"][0])


def test_a_volume(pynative, release, pictures, arrays):
    images, cameras = pictures
    model = openlrm.load_model(release("nerf"))
    assert type(model.model).__name__ == "ModelInstantMesh" and model.source_size == 64
    scene = openlrm.reconstruct(images, model, cameras=cameras, background="keep")
    assert isinstance(scene, Triplane) and scene.render(size=16).size == (16, 16)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_surface_is_written_with_its_colours(pynative, release, pictures, tmp_path, suffix):
    images, cameras = pictures
    scene = openlrm.reconstruct(images, openlrm.load_model(release("mesh")), cameras=cameras, background="keep")
    assert isinstance(scene, TriplaneSurface)
    mesh = scene.mesh()
    assert mesh.colors.shape == mesh.vertices.shape and mesh.colors.std() > 0.01
    read = trimesh.load(scene.save(tmp_path / f"a.{suffix}"), force="mesh")
    assert len(read.faces) == len(mesh.faces)
    if suffix == "glb":
        # trimesh drops the colours beside a glb's unlit material.
        assert b'"COLOR_0"' in (tmp_path / "a.glb").read_bytes()
    else:
        assert np.asarray(read.visual.vertex_colors)[:, :3].std() > 1


def test_views_of_a_surface(pynative, surface, arrays):
    from mindspore import Tensor

    scene = TriplaneSurface(Tensor(arrays["planes"][:1]), surface.synthesizer)
    cameras = Camera(turntable(3, radius=3.0))
    for view in scene.views(cameras, 24, background=0.25):
        inside = view.mask > 0.999
        assert view.rgb.shape == (24, 24, 3) and 0.1 < inside.mean() < 0.9
        assert (view.rgb[view.mask == 0] == 0.25).all()
        # Distance from the camera: what is seen is within the grid.
        assert view.depth[inside].min() > 3 - 1.82 and view.depth[inside].max() < 3.2 + 1.82
        assert view.depth[view.mask == 0].min() > view.depth[inside].max()


def test_a_surface_is_written_and_read(pynative, surface, arrays, tmp_path):
    from mindspore import Tensor

    scene = TriplaneSurface(Tensor(arrays["planes"][:1]), surface.synthesizer)
    scene.write(tmp_path / "a.safetensors")
    again = read_representation(tmp_path / "a.safetensors")
    assert isinstance(again, TriplaneSurface) and again.describe() == scene.describe()
    assert np.array_equal(again.mesh().vertices, scene.mesh().vertices)
    with pytest.raises(UserError, match="no density"):
        again.field(np.zeros((1, 3), np.float32))


def test_no_surface_is_told_with_the_range(pynative, surface, arrays):
    from mindspore import Tensor, ops

    last = surface.synthesizer.decoder.net_sdf[6]
    last.weight.set_data(ops.zeros_like(last.weight))
    last.bias.set_data(last.bias * 0 + 3)
    scene = TriplaneSurface(Tensor(arrays["planes"][:1]), surface.synthesizer)
    with pytest.raises(UserError, match=r"no surface: distances inside the grid lie in 3 to 3.*both signs"):
        scene.mesh()
    guarded = surface.synthesizer.geometry(scene.planes, guard=True)
    assert guarded.was_empty and float(guarded.empty) == pytest.approx(3) and len(guarded.mesh().faces) > 0


def test_one_picture_is_not_enough(pynative, release, pictures):
    images, cameras = pictures
    with pytest.raises(UserError, match="1 pictures, but mesh takes at least 2"):
        openlrm.reconstruct(images[:1], openlrm.load_model(release("mesh")), cameras=cameras[:1], background="keep")


def test_the_family_is_listed():
    from openlrm.runners import runner_table

    assert "train.instantmesh" in runner_table()
    from openlrm.families import find_family

    listed = find_family("instantmesh")
    assert [preset.name for preset in listed.presets()][:4] == ["nerf-base", "nerf-large", "mesh-base", "mesh-large"]
    assert json.dumps([preset.config for preset in listed.presets()])
