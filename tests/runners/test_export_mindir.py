"""`export.mindir`: what it writes is the model, for a program that has MindSpore alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from openlrm import ModelLRM
from openlrm.launch import main

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
POINTS = 40

# Run where this project cannot be imported.
READ = """
import sys
import mindspore as ms, numpy as np
from mindspore import nn
folder, given = sys.argv[1], np.load(sys.argv[2])
ms.set_device("CPU")
ms.set_context(mode=ms.GRAPH_MODE)
planes, field = (nn.GraphCell(ms.load(f"{folder}/{name}.mindir")) for name in ("planes", "field"))
made = planes(ms.Tensor(given["image"]), ms.Tensor(given["camera"]))
density, colour = field(made, ms.Tensor(given["points"]))
np.savez(f"{folder}/read.npz", planes=made.asnumpy(), density=density.asnumpy(), colour=colour.asnumpy())
"""


@pytest.fixture
def exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [f"model_name={GOLDEN}", f"points={POINTS}", "device_target=CPU", "output=graphs"]
    yield lambda size=56: main(["export.mindir", *options, f"source_size={size}"])
    from openlrm.ops import setup_device

    setup_device("CPU", 1)


def test_read_back_it_is_the_model(exported, tmp_path, golden):
    assert exported() == 0
    folder = tmp_path / "graphs"
    described = json.loads((folder / "graphs.json").read_text())
    assert described["graphs"]["planes"]["inputs"] == {"image": [1, 3, 56, 56], "camera": [1, 16]}
    assert described["graphs"]["field"]["outputs"] == ["density", "colour"]
    points = np.random.default_rng(0).uniform(-1.1, 1.1, (1, POINTS, 3)).astype(np.float32)
    image, camera = golden["image"][:1], golden["source_camera"][:1]
    np.savez(tmp_path / "given.npz", image=image, camera=camera, points=points)
    command = [sys.executable, "-I", "-c", READ, folder, tmp_path / "given.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    live = ModelLRM.from_pretrained(str(GOLDEN))
    planes = live.forward_planes(Tensor(image), Tensor(camera))
    field = live.synthesizer.forward_points(planes, Tensor(points))
    expected = {"planes": planes, "density": field["sigma"], "colour": field["rgb"]}
    with np.load(folder / "read.npz") as read:
        for name, tensor in expected.items():
            array = tensor.asnumpy()
            assert read[name].shape == array.shape
            assert np.abs(read[name] - array).max() <= 1e-5 * np.abs(array).max(), name


def test_what_is_in_the_way_is_left_alone(exported, tmp_path, capsys):
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "notes.txt").write_text("mine")
    assert exported() == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["notes.txt"]


def test_a_size_that_the_encoder_cannot_take(exported, tmp_path, capsys):
    assert exported(57) == 2
    assert "multiple of the encoder's patch side 14" in capsys.readouterr().err
    assert not (tmp_path / "graphs").exists()
