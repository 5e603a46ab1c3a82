"""glTF files whose shape is known, and what Blender makes of the same files."""

import base64
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openlrm.errors import UserError
from openlrm.evaluation.meshes import read_mesh
from openlrm.geometry.gltf_shape import read_gltf_shape

SCRIPTS = Path(__file__).resolve().parents[2] / "openlrm/factory/blender_scripts"

# The cube [-0.5, 0.5]^3.
CORNERS = np.float32([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
INDICES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]]).astype(np.uint16).reshape(-1)
UPPER = np.float32(CORNERS[:, 1:2] > 0)
CUBE = {"attributes": {"POSITION": 0}, "indices": 1}
QUARTER = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]  # about z


def cube(nodes, mesh=None, arrays=(), **document):
    """A document with a cube in mesh 0 and further accessors from 2 on."""
    meshes = [{"primitives": [CUBE]} if mesh is None else mesh]
    return {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes, "meshes": meshes} | document, [
        CORNERS,
        INDICES,
        *arrays,
    ]


def tree():
    """x: 10 + 2 * (3 +- 1 / 2); the grandchild's long side is turned from x to y."""
    nodes = [
        {"children": [1], "translation": [10, 0, 0], "scale": [2, 2, 2]},
        {"children": [2], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 3, 0, 0, 1]},
        {"mesh": 0, "rotation": QUARTER, "scale": [4, 1, 1]},
    ]
    return *cube(nodes), [[15, -4, -1], [17, 4, 1]]


def twice():
    nodes = [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0, "translation": [0, 7, 0]}]
    return *cube(nodes), [[-0.5, -0.5, -0.5], [0.5, 7.5, 0.5]]


def instances():
    """EXT_mesh_gpu_instancing inside a node at x = 10."""
    places = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 2, "SCALE": 3, "ROTATION": 4}}}
    arrays = np.float32([[1, 0, 0], [0, 0, 5]]), np.float32([[1, 1, 1], [2, 1, 1]]), np.float32([[0, 0, 0, 1], QUARTER])
    nodes = [{"mesh": 0, "translation": [10, 0, 0], "extensions": places}]
    used = {"extensionsUsed": [*places], "extensionsRequired": [*places]}
    return *cube(nodes, arrays=arrays, **used), [[9.5, -1, -0.5], [11.5, 1, 5.5]]


MORPHED = {"primitives": [CUBE | {"targets": [{"POSITION": 2}, {"POSITION": 3}]}], "weights": [0.5, 0]}
SHIFTS = UPPER * np.float32([[0, 4, 0]]), UPPER * np.float32([[0, 0, 8]])


def morph():
    return *cube([{"mesh": 0}], MORPHED, SHIFTS), [[-0.5, -0.5, -0.5], [0.5, 2.5, 0.5]]


def morph_of_the_node():
    return *cube([{"mesh": 0, "weights": [0, 1]}], MORPHED, SHIFTS), [[-0.5, -0.5, -0.5], [0.5, 0.5, 8.5]]


def skin():
    """The lower half hangs on joint 1 and stays; the upper on joint 2, two above where it was bound."""
    binds = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
    binds[1, 1, 3] = -1
    joints = np.concatenate([UPPER, np.zeros((8, 3))], 1).astype(np.uint8)
    weights = np.float32([[1, 0, 0, 0]] * 8)
    primitive = {"attributes": {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}, "indices": 1}
    nodes = [
        {"children": [1, 3]},
        {"name": "root", "children": [2]},
        {"name": "tip", "translation": [0, 3, 0]},
        {"mesh": 0, "skin": 0, "translation": [100, 0, 0]},
    ]
    arrays = joints, weights, binds.swapaxes(1, 2).reshape(2, 16)
    skins = [{"joints": [1, 2], "inverseBindMatrices": 4}]
    return *cube(nodes, {"primitives": [primitive]}, arrays, skins=skins), [[-0.5, -0.5, -0.5], [0.5, 2.5, 0.5]]


def quantized():
    """Normalised integers in rows of eight bytes."""
    document, arrays = cube([{"mesh": 0, "scale": [3, 1, 1]}], extensionsUsed=["KHR_mesh_quantization"])
    rows = np.concatenate([np.sign(CORNERS) * 32767, np.zeros((8, 1))], 1).astype(np.int16)
    arrays[0] = rows, {"type": "VEC3", "normalized": True}, {"byteStride": 8}
    return document, arrays, [[-3, -1, -1], [3, 1, 1]]


def sparse():
    """The two last corners are replaced."""
    document, arrays = cube([{"mesh": 0}], arrays=(np.uint16([6, 7]), np.float32([[9, 0, 0], [0, 0, 9]])))
    where, what = {"bufferView": 2, "componentType": 5123}, {"bufferView": 3}
    arrays[0] = CORNERS, {"sparse": {"count": 2, "indices": where, "values": what}}, {}
    return document, arrays, [[-0.5] * 3, [9, 0.5, 9]]


def other_scene():
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [50, 0, 0]}, {"mesh": 0, "translation": [0, 50, 0]}]
    scenes = [{"nodes": [1]}, {"nodes": [0]}]
    return *cube(nodes, scenes=scenes, scene=1), [[-0.5] * 3, [0.5] * 3]


def strips_and_fans():
    """Both are the square of the first four corners; the line does not count."""
    square, line = np.uint16([0, 1, 2, 3]), np.uint16([0, 7])
    modes = ((5, 2), (6, 2), (1, 3))
    primitives = [{"attributes": {"POSITION": 0}, "indices": at, "mode": mode} for mode, at in modes]
    return *cube([{"mesh": 0}], {"primitives": primitives}, (square, line)), [[-0.5] * 3, [-0.5, 0.5, 0.5]]


def spare_draco():
    """Compressed as well as plain: the plain one is for readers without the extension."""
    primitive = CUBE | {"extensions": {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}}
    used = ["KHR_draco_mesh_compression"]
    return *cube([{"mesh": 0}], {"primitives": [primitive]}, extensionsUsed=used), [[-0.5] * 3, [0.5] * 3]


CASES = (
    tree,
    twice,
    instances,
    morph,
    morph_of_the_node,
    skin,
    quantized,
    sparse,
    other_scene,
    strips_and_fans,
    spare_draco,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory, write_glb):
    """Path and (2, 3) box by name of all cases."""
    folder, found = tmp_path_factory.mktemp("gltf"), {}
    for case in CASES:
        document, arrays, box = case()
        path = write_glb(folder / f"{case.__name__}.glb", document, arrays)
        found[case.__name__] = path, np.array(box, float)
    return found


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_shape(files, name):
    path, box = files[name]
    vertices, faces = read_gltf_shape(path)
    shown = vertices[np.unique(faces)]
    np.testing.assert_allclose([shown.min(0), shown.max(0)], box, atol=2e-4)


def test_scattered_weights_are_a_mean(write_glb, tmp_path):
    """A corner that hangs on two joints, by weights that do not add up to 1, lies between what each would do."""
    document, arrays, _ = skin()
    arrays[2] = np.tile(np.uint8([0, 1, 0, 0]), (8, 1))
    arrays[3] = np.tile(np.float32([0.6, 0.2, 0, 0]), (8, 1))
    vertices, _ = read_gltf_shape(write_glb(tmp_path / "a.glb", document, arrays))
    np.testing.assert_allclose(vertices, CORNERS + np.array([0, 0.25 * 2, 0]), atol=1e-6)


PROBE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import blender_scene
for name in sys.argv[2:]:
    blender_scene.clear_scene()
    blender_scene.import_object(Path(name), None)
    print("RESULT" + json.dumps([end.tolist() for end in blender_scene._bounds()]))
"""


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy (Blender) is not installed")
def test_the_factory_renders_the_same_shapes(files):
    # Its extension's data is none, and Blender has the extension.
    files = {name: file for name, file in files.items() if name != "spare_draco"}
    names = [str(path) for path, _ in files.values()]
    command = [sys.executable, "-c", PROBE, str(SCRIPTS), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert len(found) == len(names), done.stderr
    for name, (least, greatest) in zip(files, found, strict=True):
        # Blender's axes are (x, -z, y) of glTF's.
        low, high = files[name][1]
        np.testing.assert_allclose(least, [low[0], -high[2], low[1]], atol=2e-3, err_msg=name)
        np.testing.assert_allclose(greatest, [high[0], -low[2], high[1]], atol=2e-3, err_msg=name)


def compressed_views():
    document, arrays = cube([{"mesh": 0}], extensionsUsed=["EXT_meshopt_compression"])
    document["buffers"] = [{"byteLength": 400}, {"byteLength": 400, "extensions": MESHOPT_FALLBACK}]
    arrays[0] = CORNERS, {}, {"buffer": 1, "byteOffset": 0, "extensions": {"EXT_meshopt_compression": {"buffer": 0}}}
    return document, arrays


MESHOPT_FALLBACK = {"EXT_meshopt_compression": {"fallback": True}}


def draco_alone():
    primitive = CUBE | {"extensions": {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}}
    document, arrays = cube([{"mesh": 0}], {"primitives": [primitive]})
    count = {"componentType": 5126, "count": 8, "type": "VEC3"}
    return document | {"accessors": [count, {"componentType": 5123, "count": 36, "type": "SCALAR"}]}, arrays


def requires(name):
    return lambda: cube([{"mesh": 0}], extensionsUsed=[name], extensionsRequired=[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (requires("KHR_draco_mesh_compression"), "needs the glTF extension KHR_draco_mesh_compression"),
        (requires("EXT_meshopt_compression"), "needs the glTF extension EXT_meshopt_compression"),
        (requires("ACME_bent_space"), "needs the glTF extension ACME_bent_space"),
        (draco_alone, "needs the glTF extension KHR_draco_mesh_compression"),
        (compressed_views, "needs the glTF extension EXT_meshopt_compression"),
        (lambda: cube([{"mesh": 0}], asset={"version": "1.0"}), "version 1.0"),
        (lambda: cube([{"mesh": 0, "children": [0]}]), "no trees"),
        (lambda: cube([{"children": [1]}, {"children": [0]}]), "no trees"),
        (lambda: cube([{"children": [1]}, {"mesh": 0}, {"children": [1]}]), "no trees"),
        (lambda: cube([{"children": [7]}]), "no trees"),
        (lambda: cube([{"mesh": 0}], {"primitives": [CUBE | {"attributes": {"POSITION": 1}}]}), "3 numbers each"),
        (lambda: cube([{"mesh": 0}], {"primitives": [CUBE | {"indices": 2}]}, [np.uint16([0, 1, 8])]), "of 8 vertices"),
    ],
)
def test_what_cannot_be_read(write_glb, tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        read_gltf_shape(write_glb(tmp_path / "a.glb", *make()))


def test_what_does_not_change_the_shape_may_be_required(write_glb, tmp_path):
    document, arrays = requires("KHR_materials_unlit")()
    assert len(read_gltf_shape(write_glb(tmp_path / "a.glb", document, arrays))[1]) == 12


def test_a_short_buffer(write_glb, tmp_path):
    document, arrays = cube([{"mesh": 0}])
    arrays[0] = CORNERS, {"count": 9}, {}
    with pytest.raises(ValueError, match="too short for 9 values"):
        read_gltf_shape(write_glb(tmp_path / "a.glb", document, arrays))


def test_buffers_beside_the_file_and_inside_it(tmp_path):
    (tmp_path / "a b.bin").write_bytes(CORNERS.tobytes())
    inside = "data:application/octet-stream;base64," + base64.b64encode(INDICES.tobytes()).decode()
    document, _ = cube([{"mesh": 0}])
    document |= {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "a%20b.bin", "byteLength": 96}, {"uri": inside, "byteLength": 72}],
        "bufferViews": [{"buffer": 0, "byteLength": 96}, {"buffer": 1, "byteLength": 72}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
    }
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    vertices, faces = read_gltf_shape(tmp_path / "a.gltf")
    np.testing.assert_array_equal(vertices, CORNERS)
    np.testing.assert_array_equal(faces.reshape(-1), INDICES)
    document["buffers"][0]["uri"] = "https://example.org/a.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="not in a file"):
        read_gltf_shape(tmp_path / "a.gltf")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(files, tmp_path, data):
    """Whatever bytes of a file are changed, cut or repeated."""
    content = bytearray(files[data.draw(st.sampled_from(sorted(files)))][0].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from(list(b'\x00\xff0179-{}[]",.e'))
        )
    end = data.draw(st.integers(len(content) // 2, len(content) * 2))
    (tmp_path / "a.glb").write_bytes(bytes(content)[:end])
    try:
        vertices, faces = read_mesh(tmp_path / "a.glb", "auto")
    except UserError:
        return
    assert np.isfinite(vertices[faces]).all()


def test_a_small_file_cannot_ask_for_much(write_glb, tmp_path):
    document, arrays = cube([{"mesh": 0}])
    document["accessors"] = [
        {"componentType": 5126, "count": 10**12, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
    ]
    with pytest.raises(ValueError, match="too large"):
        read_gltf_shape(write_glb(tmp_path / "a.glb", document, arrays))
