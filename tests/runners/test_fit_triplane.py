"""fit.triplane through the command line, at a size that takes seconds."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from safetensors.numpy import load_file

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


def test_stopped_by_a_signal_it_goes_on_as_one_run(tmp_path, monkeypatch):
    """The state holds planes, decoder, moments and average; draws depend on seed and step alone."""
    from openlrm.training.trainer import Trainer

    options = ("steps=6", "save_steps=4", "use_ema=true", "ema_decay=0.5")
    straight = fit(tmp_path, "straight", *options)
    take = Trainer._next

    def signalled(trainer, stream, saved):
        if trainer.position.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return take(trainer, stream, saved)

    monkeypatch.setattr(Trainer, "_next", signalled)
    folder = tmp_path / "stopped"
    assert main(command(f"output={folder}", *options)) == 130
    assert (folder / "planes.safetensors").is_file() and not (folder / "metrics.json").exists()
    monkeypatch.setattr(Trainer, "_next", take)
    result = fit(tmp_path, "stopped", *options, "resume=true")
    ours, theirs = (load_file(tmp_path / name / "planes.safetensors") for name in ("stopped", "straight"))
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert result["psnr"] == pytest.approx(straight["psnr"], abs=1e-3)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "train" in record] == [1, 5]


def test_going_on_with_other_options_or_with_nothing(tmp_path, capsys):
    assert main(command("resume=true", f"output={tmp_path / 'none'}")) == 2
    assert "no fit to go on with" in capsys.readouterr().err
    fit(tmp_path, "a", "steps=1")
    assert main(command("resume=true", "steps=1", "seed=3", "tv_weight=1", f"output={tmp_path / 'a'}")) == 2
    words = capsys.readouterr().err
    assert "seed 0 -> 3" in words and "tv_weight 0.002 -> 1.0" in words


def test_the_average_is_the_result(tmp_path):
    plain, averaged = (
        fit(tmp_path, name, "steps=3", *more) for name, more in (("a", ()), ("b", ("use_ema=true", "ema_decay=0.9")))
    )
    assert plain["psnr"] != averaged["psnr"]
    first, second = (load_file(tmp_path / name / "planes.safetensors")["planes"] for name in "ab")
    assert np.abs(first - second).max() > 1e-3


def test_starts_from_a_models_prediction(tmp_path, golden_dir, mini_config):
    """View 0 becomes the default source camera; the model's own decoder is fitted too; the size is the model's."""
    result = fit(tmp_path, "model", f"model_name={golden_dir}", "source_size=70", "steps=2")
    assert np.isfinite(result["psnr"])
    still = ("steps=1", "plane_rate=0", "decoder_rate=0")
    for name, size in (("told", ("source_size=56",)), ("known", ())):
        fit(tmp_path, name, f"model_name={golden_dir}", *still, *size)
    told, known = (load_file(tmp_path / name / "planes.safetensors")["planes"] for name in ("told", "known"))
    np.testing.assert_array_equal(told, known)
    assert mini_config["encoder"]["img_size"] == 56


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
