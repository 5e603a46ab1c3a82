"""What the Blender script takes for the object: imports in one process, told by their box and their warnings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from openlrm.geometry.mesh_io import save_mesh

SCRIPT = Path(__file__).resolve().parents[2] / "openlrm/factory/blender_scripts/blender_script.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy (Blender) is not installed")

PROBE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
import blender_scene
for name in sys.argv[2:]:
    blender_scene.clear_scene()
    warnings = blender_scene.import_object(Path(name), None)
    box = [end.tolist() for end in blender_scene._bounds()]
    lit = any(item.type in ("CAMERA", "LIGHT") and item.visible_get() for item in bpy.context.view_layer.objects)
    coloured = any(
        node.type == "VERTEX_COLOR" for material in bpy.data.materials if material.node_tree and material.users
        for node in material.node_tree.nodes
    )
    print("RESULT" + json.dumps({"box": box, "warnings": warnings, "lit": lit, "coloured": coloured}))
"""

CORNERS = np.float32([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
INDICES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]]).astype(np.uint16).reshape(-1)
MESHES = [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}]
UNIT = [[-0.5] * 3, [0.5] * 3]


def look(*paths: Path) -> list[dict]:
    command = [sys.executable, "-c", PROBE, str(SCRIPT.parent), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert len(found) == len(paths), done.stderr
    return found


def scene(*nodes, **document):
    return {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": list(nodes), "meshes": MESHES} | document


LAMP = {"extensions": {"KHR_lights_punctual": {"light": 0}}}
LAMPS = {
    "extensionsUsed": ["KHR_lights_punctual"],
    "extensions": {"KHR_lights_punctual": {"lights": [{"type": "point", "intensity": 9000}]}},
}
CAMERAS = {"cameras": [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}]}


def test_cameras_and_lamps_go_and_leave_their_children_where_they_are(tmp_path, write_glb):
    """Beside the object, around it, turned and squeezed."""
    child = {"mesh": 0, "translation": [0, 0, 2]}
    quarter = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]
    documents = {
        "beside": scene({"children": [1, 2, 3]}, {"mesh": 0}, {"camera": 0}, LAMP, **LAMPS, **CAMERAS),
        "camera": scene({"camera": 0, "translation": [5, 0, 0], "scale": [2, 1, 1], "children": [1]}, child, **CAMERAS),
        "lamp": scene({**LAMP, "rotation": quarter, "scale": [1, 3, 1], "children": [1]}, child, **LAMPS),
        "both": scene(
            {**LAMP, "camera": 0, "children": [1]}, {"camera": 0, "children": [2]}, child, **LAMPS, **CAMERAS
        ),
    }
    expected = {  # in Blender's axes
        "beside": UNIT,
        "camera": [[4, -2.5, -0.5], [6, -1.5, 0.5]],
        "lamp": [[-1.5, -2.5, -0.5], [1.5, -1.5, 0.5]],
        "both": [[-0.5, -2.5, -0.5], [0.5, -1.5, 0.5]],
    }
    paths = [write_glb(tmp_path / f"{name}.glb", document, [CORNERS, INDICES]) for name, document in documents.items()]
    for name, found in zip(documents, look(*paths), strict=True):
        np.testing.assert_allclose(found["box"], expected[name], atol=1e-5, err_msg=name)
        assert not found["lit"], name


EXPORT = """
import sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
bpy.ops.mesh.primitive_cube_add(size=1, location=(0, 0, 0))
still = bpy.context.object
bpy.ops.mesh.primitive_cube_add(size=1, location=(0, 0, 4))
moving = bpy.context.object
for kind, data in (("camera", bpy.data.cameras.new("c")), ("lamp", bpy.data.lights.new("l", "POINT"))):
    item = bpy.data.objects.new(kind, data)
    item.location = (3, 0, 0)
    scene.collection.objects.link(item)
moving.parent = item
for frame, x in ((1, 0), (20, 9)):
    moving.location = (x, 0, 4)
    moving.keyframe_insert("location", frame=frame)
scene.frame_set(1)
bpy.ops.export_scene.fbx(filepath=sys.argv[1])
"""


def test_an_fbx_with_a_camera_a_lamp_and_an_animation(tmp_path):
    done = subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path / "a.fbx")], capture_output=True, check=False)
    assert (tmp_path / "a.fbx").exists(), done.stderr
    (found,) = look(tmp_path / "a.fbx")
    np.testing.assert_allclose(found["box"], [[-0.5, -0.5, -0.5], [3.5, 0.5, 4.5]], atol=1e-4)
    assert not found["lit"]


def test_a_lamp_of_the_file_does_not_shine(tmp_path, write_glb):
    """The same pictures as without it, to the byte."""
    documents = {
        "with": scene({"mesh": 0, "children": [1]}, LAMP | {"translation": [1, 1, 1]}, **LAMPS),
        "without": scene({"mesh": 0}),
    }
    pictures = []
    for name, document in documents.items():
        path = write_glb(tmp_path / f"{name}.glb", document, [CORNERS, INDICES])
        options = ["--uid", "a", "--views", "1", "--resolution", "32", "--samples", "2", "--no-denoise"]
        command = [sys.executable, SCRIPT, "--object_path", path, "--output_dir", tmp_path / name, *options]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        pictures.append((tmp_path / name / "a/rgba/000.png").read_bytes())
    assert pictures[0] == pictures[1]


def moving(path, target, values):
    channel = {"sampler": 0, "target": {"node": 1, "path": path}}
    return {"animations": [{"channels": [channel], "samplers": [{"input": 2, "output": 3}]}]}, values


USD = """#usda 1.0
(
    defaultPrim = "root"
    upAxis = "Z"
    metersPerUnit = 1
)
def Xform "root" {
    def Mesh "a" {
        %s
        int[] faceVertexCounts = [%s]
        int[] faceVertexIndices = [%s]
        point3f[] points%s
        double3 xformOp:translate = (0, 0, 0)
        double3 xformOp:translate.timeSamples = { 0: (8, 0, 0), 24: (0, 0, 0) }
        uniform token[] xformOpOrder = ["xformOp:translate"]
    }
}
"""


def usd(points: str, more: str = "") -> str:
    counts, corners = ", ".join(["4"] * 6), ", ".join(map(str, SIDES.reshape(-1)))
    return USD % (more, counts, corners, points)


def test_every_kind_is_rendered_at_rest(tmp_path, write_glb):
    """Animated in place, size, turn and shape: as the file has it when nothing plays."""
    times = np.float32([[0], [1]])
    rest = scene({"children": [1, 2]}, {"mesh": 0, "translation": [2, 0, 0]}, {"mesh": 0})
    values = {
        "translation": [[0, 9, 0], [2, 0, 0]],
        "scale": [[0.01] * 3, [1] * 3],
        "rotation": [[0, 0, 0.38, 0.92], [0, 0, 0, 1]],
    }
    paths = []
    for name, rows in values.items():
        document = rest | moving(name, 1, None)[0]
        arrays = [CORNERS, INDICES, times, np.float32(rows)]
        paths.append(write_glb(tmp_path / f"{name}.glb", document, arrays))
    target = CORNERS * np.float32([0, 4, 0])
    meshes = [{"primitives": [MESHES[0]["primitives"][0] | {"targets": [{"POSITION": 4}]}], "weights": [0]}]
    weights = rest | moving("weights", 1, None)[0] | {"meshes": meshes}
    arrays = [CORNERS, INDICES, times, np.float32([[1], [0]]), target]
    paths.append(write_glb(tmp_path / "weights.glb", weights, arrays))
    points = str([tuple(map(float, corner)) for corner in CORNERS])
    far = str([tuple(map(float, corner)) for corner in CORNERS * 9])
    for name, text in {
        "place": usd(f" = {points}"),
        "shape": usd(f" = {points}\n point3f[] points.timeSamples = {{ 0: {far}, 24: {points} }}"),
        "earliest": usd(f".timeSamples = {{ 0: {points}, 24: {far} }}"),
    }.items():
        (tmp_path / f"{name}.usda").write_text(text)
        paths.append(tmp_path / f"{name}.usda")
    before = [path.read_bytes() for path in paths]
    for path, found in zip(paths, look(*paths), strict=True):
        expected = UNIT if path.suffix == ".usda" else [[-0.5] * 3, [2.5, 0.5, 0.5]]
        np.testing.assert_allclose(found["box"], expected, atol=1e-4, err_msg=path.name)
    assert [path.read_bytes() for path in paths] == before


def test_only_faces_with_an_area_make_the_box(tmp_path):
    """Far vertices that no face uses, and faces that are points or lines."""
    lines = [f"v {x} {y} {z}" for x, y, z in [*CORNERS, (3.3, 7.7, 40.1), (6.6, 15.4, 80.2), (12.21, 28.49, 148.37)]]
    lines += ["f {} {} {} {}".format(*side) for side in SIDES + 1]
    for name, face in {"unused": "", "point": "f 9 9 9", "line": "f 9 10 11", "needle": "f 1 9 9"}.items():
        (tmp_path / f"{name}.obj").write_text("\n".join([*lines, face]))
    for found in look(*sorted(tmp_path.iterdir())):
        np.testing.assert_allclose(found["box"], UNIT, atol=1e-6)


def obj(path: Path, head: str = "", colour: str = "", use: str = "usemtl m") -> Path:
    lines = [head, *(f"v {x} {y} {z} {colour}" for x, y, z in CORNERS), "vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", use]
    lines += ["f {}/1 {}/2 {}/3 {}/4".format(*side) for side in SIDES + 1]
    path.write_text("\n".join(lines))
    return path


def test_materials_of_an_obj_that_are_not_there(tmp_path):
    """The warning where a library lacks the material, is lacking or is called otherwise; vertex colours are shown."""
    (tmp_path / "there.mtl").write_text("newmtl m\r\nKd 0 1 0\r\n")
    (tmp_path / "own.mtl").write_text("newmtl m\nKd 0 1 0\n")
    (tmp_path / "pink.mtl").write_text("newmtl m\nmap_Kd RED.PNG\n")
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    blue = "0 0 1"
    cases = {  # head, colour, warnings, coloured
        "gone": ("mtllib nowhere.mtl", "", ["material"], False),
        "case": ("mtllib THERE.MTL", "", ["material"], False),
        "other": ("mtllib there.mtl\nusemtl M", "", [], False),
        "windows": ("mtllib C:\\models\\there.mtl", blue, ["material"], True),
        "colours": ("mtllib nowhere.mtl", blue, ["material"], True),
        "none": ("", blue, ["material"], True),
        "right": ("mtllib  there.mtl ", blue, [], False),
        "quoted": ('mtllib "there.mtl"', "", [], False),
        "own": ("", "", [], False),
        "pink": ("mtllib pink.mtl", "", ["texture"], False),
    }
    paths = [obj(tmp_path / f"{name}.obj", *case[:2]) for name, case in cases.items()]
    paths += [obj(tmp_path / "unnamed.obj", "mtllib there.mtl", blue, "usemtl n")]
    paths += [obj(tmp_path / "bare.obj", "", blue, "")]
    cases |= {"unnamed": ("", "", ["material"], True), "bare": ("", "", [], True)}
    for name, found in zip(cases, look(*paths), strict=True):
        assert (list(found["warnings"]), found["coloured"]) == cases[name][2:], name


def test_textures_nobody_reads_are_told(tmp_path, write_glb):
    """KTX2 without a picture for other readers is pink; one that nothing shows is not missed."""
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    primitive = MESHES[0]["primitives"][0]
    document = scene({"mesh": 0}) | {
        "extensionsUsed": ["KHR_texture_basisu"],
        "textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}],
        "images": [{"uri": "data:image/ktx2;base64,q0tUWCAyMLsNChoK", "mimeType": "image/ktx2"}],
    }
    shown = {"materials": [material], "meshes": [{"primitives": [primitive | {"material": 0}]}]}
    plain = {"materials": [material, {}], "meshes": [{"primitives": [primitive | {"material": 1}]}]}
    arrays = [CORNERS, INDICES]
    paths = [
        write_glb(tmp_path / "shown.glb", document | shown, arrays),
        write_glb(tmp_path / "plain.glb", document | plain, arrays),
    ]
    found = look(*paths)
    assert "rendered pink" in found[0]["warnings"].get("texture", "")
    assert "texture" not in found[1]["warnings"]


def test_obj_files_of_this_project_stand(tmp_path):
    """Those written now, and those of earlier versions, which were Z up; of other programs' Y is up."""
    box = trimesh.creation.box((1, 2, 3))
    save_mesh(tmp_path / "now.obj", box.vertices, box.faces, np.ones((8, 3)))
    text = box.export(file_type="obj", header=None, digits=6)
    coloured = "".join(f"{line} 1.000000 1.000000 1.000000\n" if line[:2] == "v " else f"{line}\n"
                       for line in text.splitlines() if line[:2] in ("v ", "f "))  # fmt: skip
    (tmp_path / "former.obj").write_text(coloured)
    (tmp_path / "other.obj").write_text(text)
    now, former, other = look(*(tmp_path / f"{name}.obj" for name in ("now", "former", "other")))
    for found, size in ((now, (1, 2, 3)), (former, (1, 2, 3)), (other, (1, 3, 2))):
        np.testing.assert_allclose(np.subtract(*found["box"][::-1]), size, atol=1e-5)
    assert "taken as Z up" in former["warnings"]["axes"]
    assert "axes" not in now["warnings"] | other["warnings"]
