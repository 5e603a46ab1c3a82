"""Textured meshes as other programs read them: trimesh, Blender and three.js."""

import importlib.util
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from openlrm.errors import UserError
from openlrm.geometry.mesh_io import Texture, save_textured_mesh

# An upright tetrahedron: its tip is up (+z), its front corner towards -y.
VERTICES = np.float32([[0, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
CENTRES = VERTICES[FACES].mean(axis=1)
# One plain quarter of the picture for each face: upper left, upper right, lower left, lower right.
COLORS = np.uint8([[250, 10, 20], [30, 200, 40], [50, 60, 230], [240, 220, 70]])
PICTURE = np.repeat(np.repeat(COLORS.reshape(2, 2, 3), 8, axis=0), 8, axis=1)
CORNERS = np.float32([[0.1, 0.1], [0.4, 0.1], [0.1, 0.3]])
UV = np.concatenate([CORNERS + shift for shift in ([0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5])]).astype(np.float32)
TEXTURE = Texture(UV, FACES.reshape(-1).astype(np.int32), np.arange(12, dtype=np.int32).reshape(4, 3), PICTURE)


@pytest.fixture(params=["glb", "obj"])
def saved(request, tmp_path):
    path = tmp_path / "new folder" / f"x.{request.param}"
    files = save_textured_mesh(path, VERTICES, FACES, TEXTURE)
    assert sorted(files) == sorted(path.parent.iterdir())
    return path


def read_glb(path):
    content = path.read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def test_trimesh_finds_each_face_its_colour(saved):
    mesh = trimesh.load(saved, process=False, force="mesh")
    uv, picture = mesh.visual.uv, mesh.visual.material
    picture = np.asarray(getattr(picture, "baseColorTexture", None) or picture.image)
    assert len(mesh.faces) == 4
    mesh.apply_transform([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # both are Y up
    for face in mesh.faces:
        # In trimesh v goes up.
        column, row = (uv[face].mean(0) * [1, -1] + [0, 1]) * 16
        number = np.linalg.norm(CENTRES - mesh.vertices[face].mean(0), axis=1).argmin()
        np.testing.assert_array_equal(picture[int(row), int(column)], COLORS[number])
    assert mesh.volume == pytest.approx(1 / 6)


def test_the_names_and_the_material_of_an_obj(tmp_path):
    save_textured_mesh(tmp_path / "a cup.obj", VERTICES, FACES, TEXTURE)
    assert {file.name for file in tmp_path.iterdir()} == {"a cup.obj", "a cup.mtl", "a cup_texture.png"}
    lines = (tmp_path / "a cup.obj").read_text().splitlines()
    assert lines[0].startswith("#") and "Y up" in lines[0]
    assert "mtllib a cup.mtl" in lines
    assert sum(line.startswith("v ") for line in lines) == 4, "positions are shared across seams"
    material = (tmp_path / "a cup.mtl").read_text().splitlines()
    assert {"illum 0", "map_Kd a cup_texture.png"} <= set(material)
    save_textured_mesh(tmp_path / "lit.obj", VERTICES, FACES, TEXTURE, unlit=False)
    assert "illum 1" in (tmp_path / "lit.mtl").read_text().splitlines()


@pytest.mark.parametrize("unlit", [True, False])
def test_glb_by_the_specification(tmp_path, unlit):
    save_textured_mesh(tmp_path / "x.glb", VERTICES, FACES, TEXTURE, unlit)
    document, binary = read_glb(tmp_path / "x.glb")
    assert len(binary) == document["buffers"][0]["byteLength"]
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
    material = document["materials"][0]
    base = material["pbrMetallicRoughness"]
    assert (base["metallicFactor"], base["roughnessFactor"]) == (0, 1)
    assert document.get("extensionsUsed") == (["KHR_materials_unlit"] if unlit else None)
    assert ("KHR_materials_unlit" in material.get("extensions", {})) == unlit
    image = document["images"][document["textures"][base["baseColorTexture"]["index"]]["source"]]
    view = document["bufferViews"][image["bufferView"]]
    png = binary[view["byteOffset"] :][: view["byteLength"]]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), PICTURE)
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]]
    offset = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    np.testing.assert_array_equal(np.frombuffer(binary, "<f4", 24, offset).reshape(12, 2), UV)


def test_all_files_or_none(tmp_path, monkeypatch):
    save_textured_mesh(tmp_path / "x.obj", VERTICES, FACES, TEXTURE)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    write = Path.write_bytes

    def full(self, content):
        if self.suffix == ".png":
            raise OSError(28, "No space left on device", str(self))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        save_textured_mesh(tmp_path / "x.obj", VERTICES * 2, FACES, TEXTURE, unlit=False)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_bad_arguments(tmp_path):
    with pytest.raises(UserError, match=r"\.ply holds no texture.*\.glb or \.obj"):
        save_textured_mesh(tmp_path / "x.ply", VERTICES, FACES, TEXTURE)
    for vertices, faces, texture in (
        (VERTICES, FACES[::-1], TEXTURE),
        (VERTICES, FACES + 1, TEXTURE),
        (VERTICES + np.nan, FACES, TEXTURE),
        (VERTICES, FACES, TEXTURE._replace(uv=UV[:5])),
        (VERTICES, FACES, TEXTURE._replace(uv=UV + np.inf)),
    ):
        with pytest.raises(ValueError):
            save_textured_mesh(tmp_path / "x.glb", vertices, faces, texture)
    assert not list(tmp_path.iterdir())


BLENDER = r"""
import json, sys
import bpy
import numpy as np

path = sys.argv[1]
bpy.ops.wm.read_factory_settings(use_empty=True)
if path.endswith(".glb"):
    bpy.ops.import_scene.gltf(filepath=path)
else:
    bpy.ops.wm.obj_import(filepath=path)
(thing,) = [o for o in bpy.data.objects if o.type == "MESH"]
(material,) = thing.data.materials
(image,) = {n.image for n in material.node_tree.nodes if n.type == "TEX_IMAGE"}
width, height = image.size
pixels = np.array(image.pixels[:]).reshape(height, width, 4)
faces = []
for face in thing.data.polygons:
    u, v = np.mean([thing.data.uv_layers.active.data[i].uv[:] for i in face.loop_indices], axis=0)
    centre = thing.matrix_world @ face.center
    # Blender's rows begin below.
    faces.append([*centre[:], *(pixels[int(v * height), int(u * width), :3] * 255).round()])
nodes = [n.type for n in material.node_tree.nodes]
print("RESULT" + json.dumps({"faces": faces, "nodes": nodes, "space": image.colorspace_settings.name}))
"""


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy (Blender) is not installed")
def test_blender_finds_each_face_its_colour(saved):
    done = subprocess.run([sys.executable, "-c", BLENDER, str(saved)], capture_output=True, text=True, check=False)
    assert "RESULT" in done.stdout, done.stderr
    result = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    assert len(result["faces"]) == 4
    assert result["space"] == "sRGB"
    for x, y, z, *color in result["faces"]:
        distance = np.linalg.norm(CENTRES - [x, y, z], axis=1)
        assert distance.min() < 1e-5
        np.testing.assert_array_equal(color, COLORS[distance.argmin()])
    # Unlit is a light of its own in Blender.
    assert ("EMISSION" in result["nodes"] or "BACKGROUND" in result["nodes"]) == (saved.suffix == ".glb")


THREE = r"""
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
const load = (name) => import(pathToFileURL(`${process.argv[2]}/node_modules/three/${name}`));
globalThis.self = globalThis;
// Node has no pictures: this one keeps the bytes.
globalThis.createImageBitmap = async (blob) => ({ width: 1, height: 1, bytes: (await blob.arrayBuffer()).byteLength });
const THREE = await load("build/three.module.js");
const { GLTFLoader } = await load("examples/jsm/loaders/GLTFLoader.js");
const content = readFileSync(process.argv[3]);
const data = content.buffer.slice(content.byteOffset, content.byteOffset + content.length);
const gltf = await new GLTFLoader().parseAsync(data, "");
const meshes = [];
gltf.scene.traverse((thing) => thing.isMesh && meshes.push(thing));
const { geometry, material } = meshes[0];
const box = new THREE.Box3().setFromObject(gltf.scene);
console.log("RESULT" + JSON.stringify({
  meshes: meshes.length,
  faces: geometry.index.count / 3,
  uv: Array.from(geometry.attributes.uv.array),
  box: { min: box.min.toArray(), max: box.max.toArray() },
  material: material.type,
  flipped: material.map.flipY,
  space: material.map.colorSpace,
  bytes: material.map.image.bytes,
}));
"""
MODULES = os.environ.get("THREE_MODULES", "")


@pytest.mark.skipif(
    not (shutil.which("node") and MODULES), reason="needs node, and THREE_MODULES, a folder after `npm install three`"
)
def test_three_js_loads_the_glb(tmp_path):
    save_textured_mesh(tmp_path / "x.glb", VERTICES, FACES, TEXTURE)
    (tmp_path / "load.mjs").write_text(THREE)
    command = ["node", str(tmp_path / "load.mjs"), str(Path(MODULES).resolve()), str(tmp_path / "x.glb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "RESULT" in done.stdout, done.stderr
    result = json.loads(done.stdout.split("RESULT")[1])
    assert (result["meshes"], result["faces"]) == (1, 4)
    assert (result["material"], result["flipped"], result["space"]) == ("MeshBasicMaterial", False, "srgb")
    np.testing.assert_allclose(result["uv"], UV.reshape(-1), atol=1e-7)
    assert result["box"] == {"min": [-0.5, 0, -0.5], "max": [0.5, 1, 0.5]}
    document, _ = read_glb(tmp_path / "x.glb")
    view = document["images"][0]["bufferView"]
    assert result["bytes"] == document["bufferViews"][view]["byteLength"]
