"""From a scene to a mesh file with its options, for a field that is known."""

import dataclasses

import numpy as np
import pytest
import trimesh

from openlrm.config import load_config
from openlrm.errors import UserError
from openlrm.geometry.field_mesh import field_mesh
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.launch import main
from openlrm.representations.export import export_mesh
from openlrm.runners import find_runner

pytest.importorskip("xatlas", reason="xatlas is not installed: pip install openlrm-mindspore[texture]")
pytest.importorskip("fast_simplification", reason="fast-simplification is not installed")

SIZES = np.float32([0.8, 0.5, 0.3])


class Ellipsoid:
    """A scene without a renderer."""

    def field(self, points):
        return 3 + 5 * (1 - np.linalg.norm(points / SIZES, axis=1)), (points + 1) / 2

    def extract(self, settings, bars):
        return field_mesh(lambda points: np.maximum(self.field(points)[0], 0), self.field, settings, 1 << 18, bars)


def export(path, size, **options):
    return export_mesh(Ellipsoid(), path, MeshSettings(size, 3.0, **options))


def read(path):
    return trimesh.load(path, process=False, force="mesh")


def test_all_faces_by_themselves(tmp_path):
    vertices, faces = export(tmp_path / "x.ply", 32, color_depth=0)
    mesh = read(tmp_path / "x.ply")
    assert (vertices, faces) == (len(mesh.vertices), len(mesh.faces))
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3] / 255, (mesh.vertices + 1) / 2, atol=0.003)


@pytest.mark.parametrize("texture", ["none", "atlas"])
def test_few_faces_smoothed_with_colours_of_their_places(tmp_path, texture):
    """Colours are asked after the edits; the file's size in metres changes places, not colours."""
    path = tmp_path / "x.obj"
    options = {"faces": 600, "smooth": 3, "metres": 0.4, "texture": texture, "texture_size": 128}
    options["color_depth"] = 0
    vertices, faces = export(path, 48, **options)
    assert 550 < faces <= 600
    mesh = read(path)
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(0.4, rel=1e-4)
    assert len(mesh.faces) == faces
    upright = mesh.vertices[:, [0, 2, 1]] * [1, -1, 1]  # an obj is Y up
    in_field = upright * np.ptp(SIZES * [[-1], [1]], axis=0).max() / 0.4
    if texture == "none":
        assert len(mesh.vertices) == vertices
        shown = mesh.visual.vertex_colors[:, :3]
    else:
        shown = mesh.visual.to_color().vertex_colors[:, :3]
    # Smoothing and decimation move the ends by a little.
    np.testing.assert_allclose(shown / 255, (in_field + 1) / 2, atol=0.02)


@pytest.mark.parametrize("unlit", [True, False])
def test_unlit_reaches_the_file(tmp_path, unlit):
    for name, texture in (("a.glb", "none"), ("b.glb", "atlas")):
        export(tmp_path / name, 16, texture=texture, texture_size=64, unlit=unlit)
        assert (b"KHR_materials_unlit" in (tmp_path / name).read_bytes()) == unlit


def test_a_texture_alone_reduces_the_faces(tmp_path, monkeypatch):
    monkeypatch.setattr("openlrm.geometry.field_mesh.TEXTURE_FACES", 500)
    assert export(tmp_path / "x.glb", 32, texture="atlas", texture_size=64)[1] <= 500
    more = {"texture": "atlas", "texture_size": 64, "faces": 800}
    assert 700 < export(tmp_path / "x.glb", 32, **more)[1] <= 800


def test_a_format_without_textures_costs_no_work(tmp_path):
    with pytest.raises(UserError, match="holds no texture"):
        export_mesh(None, tmp_path / "x.stl", MeshSettings(texture="atlas"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("runner", ["infer.lrm", "fit.triplane"])
def test_options_of_the_runners_are_those_of_the_export(runner):
    schema = find_runner(runner).Config
    required = ["data_root=a", "uid=b"] if runner == "fit.triplane" else []
    texts = {"mesh_size": 64, "mesh_thres": 2.5, "mesh_smooth": 2, "mesh_faces": 900, "mesh_texture": "atlas"}
    texts |= {"texture_size": 256, "mesh_metres": 0.5, "mesh_unlit": "false", "mesh_color_depth": 0.02}
    config = load_config(schema, overrides=[*required, *(f"{key}={value}" for key, value in texts.items())])
    wanted = {"size": 64, "threshold": 2.5, "smooth": 2, "faces": 900, "texture": "atlas"}
    wanted |= {"texture_size": 256, "metres": 0.5, "unlit": False, "color_depth": 0.02}
    assert config.mesh_settings() == MeshSettings(**wanted)
    assert set(wanted) == {field.name for field in dataclasses.fields(MeshSettings)} - {"colored"}
    # Without options a runner writes what a caller in Python gets.
    assert load_config(schema, overrides=required).mesh_settings() == MeshSettings()


@pytest.mark.parametrize("command", [["infer.lrm", "planes_input=x"], ["fit.triplane", "data_root=x", "uid=y"]])
def test_runners_refuse_before_the_work(command, capsys):
    assert main([*command, "export_mesh=true", "mesh_format=ply", "mesh_texture=atlas"]) == 2
    assert ".ply holds no texture" in capsys.readouterr().err
