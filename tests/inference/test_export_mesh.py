"""From a scene to a mesh file with its options, for a field that is known."""

import numpy as np
import pytest
import trimesh

from openlrm.errors import UserError
from openlrm.inference.export import export_mesh
from openlrm.inference.mesh import extract_mesh

pytest.importorskip("xatlas", reason="xatlas is not installed: pip install openlrm-mindspore[texture]")
pytest.importorskip("fast_simplification", reason="fast-simplification is not installed")

SIZES = np.float32([0.8, 0.5, 0.3])


class Ellipsoid:
    """A scene without a renderer."""

    def field(self, points):
        return 3 + 5 * (1 - np.linalg.norm(points / SIZES, axis=1)), (points + 1) / 2

    def mesh(self, size, threshold, progress=None):
        density = lambda points: np.maximum(self.field(points)[0], 0)  # noqa: E731
        return extract_mesh(density, lambda points: self.field(points)[1], size, threshold, progress=progress)


def read(path):
    return trimesh.load(path, process=False, force="mesh")


def test_all_faces_by_themselves(tmp_path):
    vertices, faces = export_mesh(Ellipsoid(), tmp_path / "x.ply", 32, 3.0)
    mesh = read(tmp_path / "x.ply")
    assert (vertices, faces) == (len(mesh.vertices), len(mesh.faces))
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3] / 255, (mesh.vertices + 1) / 2, atol=0.003)


@pytest.mark.parametrize("texture", ["none", "atlas"])
def test_few_faces_smoothed_with_colours_of_their_places(tmp_path, texture):
    """Colours are asked after the edits; the file's size in metres changes places, not colours."""
    path = tmp_path / "x.obj"
    options = {"faces": 600, "smooth": 3, "metres": 0.4, "texture": texture, "texture_size": 128}
    vertices, faces = export_mesh(Ellipsoid(), path, 48, 3.0, **options)
    assert 550 < faces <= 600
    mesh = read(path)
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(0.4, rel=1e-4)
    assert len(mesh.faces) == faces
    in_field = mesh.vertices * np.ptp(SIZES * [[-1], [1]], axis=0).max() / 0.4
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
        export_mesh(Ellipsoid(), tmp_path / name, 16, 3.0, texture=texture, texture_size=64, unlit=unlit)
        assert (b"KHR_materials_unlit" in (tmp_path / name).read_bytes()) == unlit


def test_a_texture_alone_reduces_the_faces(tmp_path, monkeypatch):
    monkeypatch.setattr("openlrm.inference.export.TEXTURE_FACES", 500)
    assert export_mesh(Ellipsoid(), tmp_path / "x.glb", 32, 3.0, texture="atlas", texture_size=64)[1] <= 500
    more = {"texture": "atlas", "texture_size": 64, "faces": 800}
    assert 700 < export_mesh(Ellipsoid(), tmp_path / "x.glb", 32, 3.0, **more)[1] <= 800


def test_a_format_without_textures_costs_no_work(tmp_path):
    with pytest.raises(UserError, match="holds no texture"):
        export_mesh(None, tmp_path / "x.stl", texture="atlas")
    assert not list(tmp_path.iterdir())
