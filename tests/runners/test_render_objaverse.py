"""`render.objaverse` with Blender itself: what it renders is training data, and a killed driver goes on."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trimesh

from openlrm import launch
from openlrm.datasets import DataConfig, SubsetConfig, TrainItems, list_uids

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy (Blender) is not installed")

REPO = Path(__file__).resolve().parents[2]
QUICK = ["render.resolution=64", "render.samples=4", "render.views=4", "threads=1", "val_share=0"]
SHAPES = {
    "ball": trimesh.creation.icosphere(subdivisions=2),
    "kitchen/box": trimesh.creation.box((1, 2, 3)),
    "kitchen/can": trimesh.creation.cylinder(0.5, 2.0),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for uid, shape in SHAPES.items():
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=[90, 120, 60, 255], metallicFactor=0)
        shape.visual = trimesh.visual.TextureVisuals(material=material)
        path = folder / f"{uid}.glb"
        path.parent.mkdir(exist_ok=True)
        shape.export(path)
    (folder / "corrupt.glb").write_bytes(path.read_bytes()[:400])
    return folder


@pytest.fixture(scope="module")
def rendered(objects, tmp_path_factory):
    output = tmp_path_factory.mktemp("rendered")
    assert launch.main(["render.objaverse", f"input={objects}", f"output={output}", "workers=2", *QUICK]) == 0
    return output


def test_usable_objects_are_listed_and_the_others_named(rendered):
    assert list_uids(rendered) == sorted(SHAPES)
    card = (rendered / "data_card.md").read_text()
    assert "| for training (meta.json) | 3 |" in card
    assert "| corrupt | Blender cannot read the file: " in card
    lines = [json.loads(line) for line in (rendered / "render_log.jsonl").read_text().splitlines()]
    assert Counter(line["uid"] for line in lines) == dict.fromkeys(SHAPES, 1) | {"corrupt": 2}
    assert not list(rendered.rglob("*.part"))


def test_check_data_finds_nothing(rendered, capsys):
    assert launch.main(["check.data", "--root", str(rendered), "sheet_objects=0"]) == 0
    printed = capsys.readouterr().out
    assert "PROBLEM" not in printed
    assert "without a problem                3" in printed


def test_training_items_are_drawn(rendered):
    config = DataConfig([SubsetConfig([str(rendered)])], source_image_res=32, render_image_high=64)
    item = TrainItems(config, seed=0).item(0, 0)
    assert item.images.shape == (4, 3, 64, 64)
    assert item.source_images.shape == (1, 3, 32, 32)
    assert 0.02 < item.masks.mean() < 0.9
    # The camera of the model's input is the canonical one, at the distance it was rendered from.
    pose = item.source_cameras.c2w[0]
    np.testing.assert_allclose(pose[:, :3], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-5)
    assert 1.9 <= -pose[1, 3] <= 2.6


def render_set(folder, *options):
    """Exit code and manifest by uid of a rendered folder of objects."""
    output = folder.with_name(f"{folder.name}-rendered")
    given = [f"input={folder}", f"output={output}", "workers=2", "threads=1", "val_share=0", "render.samples=1"]
    code = launch.main(["render.objaverse", *given, *options])
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    return code, output, {line["uid"]: line for line in lines}


def test_a_box_is_accepted_at_default_sizes_and_distances(tmp_path, capsys):
    """Three draws of the 32 cameras; a cut, or a picture that a face fills, is what these cameras do."""
    (tmp_path / "crates").mkdir()
    for name in ("crate", "dice", "house"):
        trimesh.creation.box().export(tmp_path / "crates" / f"{name}.glb")
    code, output, manifest = render_set(tmp_path / "crates", "render.resolution=32")
    assert (code, {line["split"] for line in manifest.values()}) == (0, {"train"}), capsys.readouterr().out
    assert launch.main(["check.data", "--root", str(output), "sheet_objects=0"]) == 0
    assert "PROBLEM" not in capsys.readouterr().out


def test_cameras_that_are_too_near_are_told(tmp_path):
    (tmp_path / "crates").mkdir()
    trimesh.creation.box().export(tmp_path / "crates" / "crate.glb")
    near = ["render.distance=[1.5,1.6]", "render.height=[-0.5,0.5]", "render.views=8", "render.resolution=32"]
    code, output, _ = render_set(tmp_path / "crates", *near)
    assert code == 1 and "clipped: the object is cut off" in (output / "data_card.md").read_text()


def test_pink_objects_leave_the_lists(tmp_path):
    """A texture that is not there is flagged; no material is a warning."""
    (tmp_path / "things").mkdir()
    ball = trimesh.creation.icosphere(subdivisions=2)
    corners = "".join(f"v {x} {y} {z}\nvt 0 0\n" for x, y, z in ball.vertices)
    sides = "".join(f"f {a}/{a} {b}/{b} {c}/{c}\n" for a, b, c in ball.faces + 1)
    for name in ("pink", "grey"):
        (tmp_path / "things" / f"{name}.obj").write_text(f"mtllib {name}.mtl\n{corners}usemtl m\n{sides}")
    (tmp_path / "things" / "pink.mtl").write_text("newmtl m\nmap_Kd gone.png\n")
    code, output, manifest = render_set(tmp_path / "things", "render.resolution=32", "render.views=4")
    assert (code, manifest["pink"]["split"], manifest["grey"]["split"]) == (0, "flagged", "train")
    card = (output / "data_card.md").read_text()
    assert "| pink | texture: 1 textures cannot be read: rendered pink (gone.png)" in card
    assert "| warning: material | 1 |" in card and "| warning: texture | 1 |" in card


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends the children of a killed process")
def test_a_killed_driver_goes_on_without_rendering_anything_twice(objects, tmp_path, capsys):
    """SIGKILL, which no handler sees, while the second of three objects is rendered."""
    output = tmp_path / "out"
    options = ["render.objaverse", f"input={objects}", f"output={output}", "workers=1", *QUICK]
    process = subprocess.Popen([sys.executable, "-m", "openlrm.launch", *options], cwd=REPO, stderr=subprocess.DEVNULL)
    wait_for(lambda: (output / "kitchen/box.part").is_dir())
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = output / "ball/render.json"
    stamp = first.stat().st_mtime_ns
    wait_for(lambda: not children_of(str(output)))
    assert not (output / "kitchen/box").exists()
    assert launch.main(options) == 0
    # The box, the can, and the second try of the corrupt one.
    assert "3 objects to render, 1 there already" in capsys.readouterr().err
    assert first.stat().st_mtime_ns == stamp
    lines = [json.loads(line) for line in (output / "render_log.jsonl").read_text().splitlines()]
    assert Counter(line["uid"] for line in lines) == dict.fromkeys(SHAPES, 1) | {"corrupt": 2}
    assert list_uids(output) == sorted(SHAPES)
    assert not list(output.rglob("*.part"))


def children_of(text: str) -> list[str]:
    """Command lines of Blender scripts that have some text in them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "blender_script.py" in line and text in line:
            found.append(line)
    return found
