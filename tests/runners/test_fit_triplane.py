"""fit.triplane through the command line, at a size that takes seconds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from openlrm.launch import main
from openlrm.utils.images import load_image

TINY = [
    "data_root=assets/sample_object",
    "uid=food_dinner",
    "triplane_dim=8",
    "triplane_res=16",
    "samples_per_ray=16",
    "region_size=8",
    "steps=40",
    "render_size=16",
    "render_views=3",
    "mesh_size=24",
    "device_target=CPU",
]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch, repo):
    monkeypatch.chdir(repo)


def command(*more):
    """The tiny run with some options replaced."""
    replaced = {option.split("=")[0] for option in more}
    return ["fit.triplane", *(option for option in TINY if option.split("=")[0] not in replaced), *more]


def fit(tmp_path, name, *more):
    assert main(command(f"output={tmp_path / name}", *more)) == 0
    return json.loads((tmp_path / name / "metrics.json").read_text())


def test_fits_measures_and_exports(tmp_path):
    short = fit(tmp_path, "short", "steps=1")
    result = fit(tmp_path, "fit", "export_video=true", "export_mesh=true", "video_format=gif", "mesh_thres=0.5")
    assert result["views_fitted"] == 24 and result["views_kept"] == 8
    # Forty steps turn the first fog into a blob of about the right colours: 14.0 dB where it was 12.0.
    assert result["psnr_object_pixels"] > short["psnr_object_pixels"] + 1
    assert result["psnr_worst_view"] <= result["psnr"]
    mesh = trimesh.load(tmp_path / "fit" / "food_dinner.glb", force="mesh")
    assert mesh.is_watertight and len(mesh.faces) > 20
    assert (tmp_path / "fit" / "food_dinner.gif").stat().st_size > 100
    sheet = load_image(tmp_path / "fit" / "comparison.png")
    assert sheet.shape == (2 * 128, 8 * 128, 3)


def test_same_seed_same_planes_and_going_on(tmp_path):
    # New processes: in one that has worked before, buffers lie elsewhere and kernels round otherwise.
    for name in ("a", "b"):
        arguments = command("steps=3", f"output={tmp_path / name}")
        subprocess.run([sys.executable, "-m", "openlrm.launch", *arguments], capture_output=True, check=True)
    first, second = ((tmp_path / n / "planes.safetensors").read_bytes() for n in ("a", "b"))
    assert first == second
    other = fit(tmp_path, "other", "steps=3", "seed=1")
    assert (tmp_path / "other" / "planes.safetensors").read_bytes() != first
    # Without a learning rate the start is the result: going on starts where the earlier fit ended.
    still = ("steps=1", "plane_rate=0", "decoder_rate=0", f"planes_input={tmp_path / 'a' / 'planes.safetensors'}")
    went_on = fit(tmp_path, "went_on", *still)
    ended = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert went_on["psnr"] == pytest.approx(ended["psnr"], abs=1e-3)
    assert went_on["psnr"] != pytest.approx(other["psnr"], abs=1e-2)


def test_starts_from_a_models_prediction(tmp_path, golden_dir):
    """View 0 becomes the default source camera; the model's own decoder is fitted too."""
    result = fit(tmp_path, "model", f"model_name={golden_dir}", "source_size=56", "steps=2")
    assert np.isfinite(result["psnr"])


@pytest.mark.parametrize(
    "more, words",
    [
        (["uid=food_diner"], "did you mean 'food_dinner'"),
        (["kept_views=32"], "the object has 32 views"),
        (["region_size=200"], "larger than the views"),
        (["model_name=a", "planes_input=b"], "two different starts"),
        (["data_root=nowhere"], "no such folder"),
    ],
)
def test_bad_input(tmp_path, capsys, more, words):
    assert main(command(*more, f"output={tmp_path / 'x'}")) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
