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
    assert item["source_image"].shape == (3, 32, 32)
    assert 0.02 < item["render_mask"].mean() < 0.9
    # The camera of the model's input is the canonical one, at the distance it was rendered from.
    pose = item["source_camera"][:12].reshape(3, 4)
    np.testing.assert_allclose(pose[:, :3], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-5)
    assert 1.9 <= -pose[1, 3] <= 2.6


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
