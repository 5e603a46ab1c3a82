import json
import struct

import numpy as np
import pytest
import trimesh

from openlrm.errors import UserError
from openlrm.geometry.glb import srgb_to_linear
from openlrm.geometry.mesh_io import MESH_FORMATS, is_former_obj, save_mesh, vertex_normals

# An upright tetrahedron: its tip is up (+z), its front corner towards -y.
VERTICES = np.array([[0, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
COLORS = np.array([[1, 0, 0], [0, 0.5, 0], [0.02, 0.2, 0.9], [1, 1, 1]])


@pytest.fixture
def saved(tmp_path):
    def save(suffix):
        path = tmp_path / "new" / f"x{suffix}"
        save_mesh(path, VERTICES, FACES, COLORS)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        return path

    return save


Y_UP = VERTICES[:, [0, 2, 1]] * [1, 1, -1]


@pytest.mark.parametrize(("suffix", "expected"), [(".ply", VERTICES), (".PLY", VERTICES), (".obj", Y_UP)])
def test_colours_and_axes(saved, suffix, expected):
    mesh = trimesh.load_mesh(saved(suffix), process=False)
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], np.rint(COLORS * 255))


def test_an_obj_says_which_axis_is_up(saved):
    first = saved(".obj").read_text().splitlines()[0]
    assert first.startswith("#") and "Y up" in first


FORMER = {  # as earlier versions wrote them
    "coloured": "v 0.000000 -0.500000 0.000000 1.000000 0.000000 0.501961\nf 1 3 2\n",
    "textured": "mtllib cup.mtl\nusemtl material\nv 0 -0.5 0\nvn 0.0000 0.0000 -1.0000\n",
}
OTHERS = {
    "blender": "# Blender 5.0\n# www.blender.org\nmtllib a.mtl\no Cube\nv 1.000000 1.000000 -1.000000\n",
    "trimesh": "# https://github.com/mikedh/trimesh\nv 0.00000000 0.00000000 0.00000000\n",
    "plain": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "long": "v 0.00000000 0.00000000 0.00000000 1.00000000 1.00000000 1.00000000\n",
    "colourless": "v 0.000000 0.000000 0.000000\n",
    "material": "mtllib material.mtl\nusemtl material_0\nv 0 0 0\n",
    "empty": "",
}


def test_obj_files_of_earlier_versions_are_told_apart(saved, tmp_path):
    for texts, former in ((FORMER, True), (OTHERS, False)):
        for name, text in texts.items():
            (tmp_path / f"{name}.obj").write_text(text)
            assert is_former_obj(tmp_path / f"{name}.obj") == former, name
    assert not is_former_obj(saved(".obj"))


def test_ply_header(saved):
    header = saved(".ply").read_bytes().split(b"end_header")[0].decode()
    assert "format binary_little_endian 1.0" in header
    for name in ("red", "green", "blue"):
        assert f"property uchar {name}" in header


def test_stl_has_the_shape(saved):
    mesh = trimesh.load_mesh(saved(".stl"))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1 / 6)


def test_glb_stands_upright(saved):
    mesh = trimesh.load(saved(".glb"), process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices[3], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[0], [0, 0, 0.5], atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, FACES)
    # A mirrored mesh would have a negative volume.
    assert mesh.volume == pytest.approx(1 / 6)
    outward = (mesh.vertices - mesh.vertices.mean(0)) * mesh.vertex_normals
    assert (outward.sum(1) > 0).all()


def test_glb_by_the_specification(saved):
    content = saved(".glb").read_bytes()
    magic, version, length, json_length, json_kind = struct.unpack("<4sIII4s", content[:20])
    assert (magic, version, length, json_kind) == (b"glTF", 2, len(content), b"JSON")
    document = json.loads(content[20 : 20 + json_length])
    binary_length, binary_kind = struct.unpack("<I4s", content[20 + json_length : 28 + json_length])
    binary = content[28 + json_length :]
    assert (binary_kind, binary_length) == (b"BIN\0", len(binary))
    assert document["buffers"][0]["byteLength"] == len(binary)
    assert json_length % 4 == 0 == binary_length % 4

    primitive = document["meshes"][0]["primitives"][0]
    assert document["materials"][primitive["material"]]["pbrMetallicRoughness"]["metallicFactor"] == 0
    arrays = {}
    for name, index in (primitive["attributes"] | {"indices": primitive["indices"]}).items():
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        dtype = {5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        data = np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], dtype)
        arrays[name] = data.reshape(accessor["count"], -1)
    position = document["accessors"][primitive["attributes"]["POSITION"]]
    np.testing.assert_array_equal(position["min"], arrays["POSITION"].min(0))
    np.testing.assert_array_equal(position["max"], arrays["POSITION"].max(0))
    np.testing.assert_allclose(np.linalg.norm(arrays["NORMAL"], axis=1), 1, atol=1e-6)
    # Linear as glTF wants it: shown on a screen, so encoded again, it is the colour that was given.
    linear = arrays["COLOR_0"] / 65535
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shown[:, :3], COLORS, atol=2e-4)
    np.testing.assert_array_equal(linear[:, 3], 1)


def test_normals_of_vertices_without_area(tmp_path):
    save_mesh(tmp_path / "x.glb", np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros((3, 3)))
    content = (tmp_path / "x.glb").read_bytes()
    normals = np.frombuffer(content, "<f4", 9, content.index(b"BIN\0") + 4 + 36).reshape(3, 3)
    np.testing.assert_array_equal(normals, [[0, 1, 0]] * 3)


def test_srgb_to_linear():
    values = srgb_to_linear(np.array([-1, 0, 0.04045, 0.5, 1, 2]))
    np.testing.assert_allclose(values, [0, 0, 0.0031308, 0.214041, 1, 1], atol=1e-6)


def test_bad_arguments(tmp_path):
    with pytest.raises(UserError) as caught:
        save_mesh(tmp_path / "x.fbx", VERTICES, FACES, COLORS)
    assert all(suffix in str(caught.value) for suffix in MESH_FORMATS)
    for vertices, faces, colors in (
        (VERTICES[:, :2], FACES, COLORS),
        (VERTICES, FACES[:0], COLORS),
        (VERTICES, FACES + 1, COLORS),
        (VERTICES, FACES, COLORS[:2]),
        (VERTICES + np.inf, FACES, COLORS),
        (VERTICES, FACES, COLORS + np.nan),
    ):
        with pytest.raises(ValueError):
            save_mesh(tmp_path / "x.ply", vertices, faces, colors)
    assert not list(tmp_path.iterdir())


def test_normals_of_a_sphere_point_outwards():
    sphere = trimesh.creation.icosphere(4)
    normals = vertex_normals(sphere.vertices.astype(np.float32), sphere.faces)
    np.testing.assert_allclose(normals, sphere.vertices, atol=6e-3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_a_normal_is_the_mean_by_area_and_0_without_any():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1], [5, 5, 5]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 4, 1]])
    expected = np.array([2, 0, 4]) / np.sqrt(20)  # twice the areas: 4 along z, 2 along x
    np.testing.assert_allclose(vertex_normals(vertices, faces)[[0, 2]], [expected, expected], atol=1e-6)
    np.testing.assert_array_equal(vertex_normals(vertices, faces)[4], 0)
