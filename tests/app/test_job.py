"""What the page makes of a picture, without the page."""

import struct
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

import openlrm
from openlrm import launch
from openlrm.app.job import Settings, run_job
from openlrm.errors import UserError

REPO = Path(__file__).resolve().parents[2]
SAMPLES = REPO / "assets" / "sample_input"
SMALL = Settings(render_size=24, render_views=3, render_fps=6, mesh_size=24, mesh_texture="none")


@pytest.fixture(scope="module")
def model():
    return openlrm.load_model(REPO / "openlrm" / "families" / "lrm" / "golden", "CPU")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("openlrm.preprocess.picture.missing_for_rembg", lambda: "rembg is not there")
    for place in ("openlrm.preprocess.picture", "openlrm.app.job"):
        monkeypatch.setattr(f"{place}.missing_for_isnet", lambda: "there is no network")


def test_results_come_one_after_the_other(model, tmp_path):
    ready = []
    for result in run_job(model, str(SAMPLES / "knight.png"), tmp_path, SMALL):
        assert all(file.is_file() for file in result.files)
        ready.append([file.name for file in result.files])
    assert ready == [
        ["input.png"],
        ["input.png", "scene.safetensors"],
        ["input.png", "scene.safetensors", "turntable.mp4"],
        ["input.png", "scene.safetensors", "turntable.mp4", "model.glb"],
    ]
    assert Image.open(result.picture).size == (512, 512)
    assert iio.imread(result.video, plugin="FFMPEG").shape == (3, 24, 24, 3)
    magic, version, length = struct.unpack("<4sII", result.mesh.read_bytes()[:12])
    assert (magic, version, length) == (b"glTF", 2, result.mesh.stat().st_size)
    assert result.notes == ["The picture is cut out already; its transparency was used."]


def test_options_reach_the_scene(model, tmp_path):
    options = {"background": "keep", "recentre": False, "source_cam_dist": 3.0}
    steps = run_job(model, str(SAMPLES / "mug_full.png"), tmp_path, SMALL, **options)
    next(steps)
    next(steps)
    made = openlrm.load_scene(tmp_path / "scene.safetensors", "CPU").planes.asnumpy()
    other = openlrm.reconstruct(SAMPLES / "mug_full.png", model, **options)
    np.testing.assert_allclose(made, other.planes.asnumpy(), atol=1e-4)


def test_notes_say_what_was_done_and_what_could_not_be(model, tmp_path):
    dense = Settings(render_size=16, render_views=1, render_fps=6, mesh_size=16, mesh_thres=1e5, mesh_texture="none")
    *_, result = run_job(model, str(SAMPLES / "mug_full.png"), tmp_path, dense)
    assert result.mesh is None and result.video.is_file()
    assert result.notes[0] == "The background was removed by its colour: there is no network."
    assert "no surface at threshold" in result.notes[1] and len(result.notes) == 2


def test_a_bad_picture_stops_at_once(model, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(UserError, match="not a png"):
        next(run_job(model, str(tmp_path / "bad.png"), tmp_path, SMALL))


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert launch.main(["app", f"model_name={REPO / 'tests' / 'golden'}", "mesh_texture=none"]) == 2
    assert capsys.readouterr().err == "error: the page needs gradio. pip install -e '.[app]'\n"
