"""train.lrm through the command line, at a size that takes seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from openlrm import ModelLRM
from openlrm.checkpoint import read_tensors
from openlrm.launch import main

REPO = Path(__file__).resolve().parents[2]
DEBUG = [
    "train.lrm",
    "--config",
    "configs/train-sample-debug.yaml",
    "--device_target=CPU",
    "data.render_region_size=8",
    "data.render_image_low=12",
    "data.render_image_high=16",
    "train.batch_size=1",
    "model.rendering_samples_per_ray=8",
]
QUIET = ["val.val_interval=0", "report.watch_interval=0", "report.image_interval=0"]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(REPO)


def train(output, *more):
    replaced = {option.split("=")[0] for option in more}
    options = [option for option in DEBUG if option.split("=")[0] not in replaced]
    return main([*options, f"saver.output_path={output}", *more])


def the_run(output):
    (folder,) = (output / "debug").iterdir()
    return folder


def start(output, *more):
    """Start a run in a process of its own."""
    command = [sys.executable, "-m", "openlrm.launch", *DEBUG, f"saver.output_path={output}", *QUIET, *more]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    return subprocess.Popen(command, cwd=REPO, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_step(output, step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for log in output.glob("debug/*/log_0.txt"):
            if f"step {step}:" in log.read_text():
                return
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"no step {step}: {process.communicate()[1].decode()[-2000:]}")


def state(folder):
    return read_tensors(folder / "ckpt" / "train_resume.ckpt")


def assert_same(a, b):
    assert set(a) == set(b)
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], name)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Twenty steps in one go."""
    os.chdir(REPO)
    output = tmp_path_factory.mktemp("straight")
    assert train(output, *QUIET, "train.train_steps=20", "train.use_ema=true") == 0
    return the_run(output)


def test_ten_steps_killed_and_resumed_are_twenty_straight(tmp_path, straight):
    options = ["train.train_steps=20", "train.use_ema=true", "saver.ckpt_save_steps=1"]
    process = start(tmp_path, *options)
    wait_for_step(tmp_path, 10, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = int(state(the_run(tmp_path))["global_step"][0])
    assert 8 <= before < 20
    assert train(tmp_path, *QUIET, *options, "--resume", "latest") == 0
    assert_same(state(the_run(tmp_path)), state(straight))


def test_sigterm_saves_and_the_run_goes_on(tmp_path, straight):
    options = ["train.train_steps=20", "train.use_ema=true"]
    process = start(tmp_path, *options)
    wait_for_step(tmp_path, 4, process)
    process.terminate()
    words = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, words[-2000:]
    folder = the_run(tmp_path)
    assert f"--config {folder}/cfg.yaml --resume {folder}" in words
    assert main(["train.lrm", "--config", f"{folder}/cfg.yaml", "--resume", str(folder)]) == 0
    assert_same(state(folder), state(straight))


def test_run_folder_is_complete_and_its_model_loads(tmp_path):
    more = ["train.train_steps=2", "val.val_interval=2", "report.watch_interval=1", "saver.ckpt_save_interval=1"]
    assert train(tmp_path, *more) == 0
    folder = the_run(tmp_path)
    for name in ("cfg.yaml", "args.txt", "config.json", "manifest.json", "train_uids.json", "log_0.txt"):
        assert (folder / name).is_file(), name
    assert json.loads((folder / "train_uids.json").read_text()) == ["food_dinner"]
    assert yaml.safe_load((folder / "cfg.yaml").read_text())["train"]["train_steps"] == 2
    assert (folder / "validation" / "0000002.png").is_file()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("psnr" in record for record in records)
    page = (folder / "report.html").read_text()
    assert "Training of debug" in page
    assert page.count("<img") == 1
    model = ModelLRM.from_pretrained(str(folder))
    saved = read_tensors(folder / "ckpt" / "openlrm-e2.ckpt")
    for name, parameter in model.parameters_and_names():
        np.testing.assert_array_equal(parameter.asnumpy(), saved[name])


def test_graph_mode_takes_the_same_step(tmp_path):
    losses = []
    for mode in (1, 0):
        assert train(tmp_path / str(mode), *QUIET, "train.train_steps=2", f"--mode={mode}") == 0
        log = (the_run(tmp_path / str(mode)) / "log_0.txt").read_text()
        losses.append([float(line.split("loss ")[1].split(",")[0]) for line in log.splitlines() if ": loss " in line])
    assert len(losses[0]) == 2
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)  # four digits are printed


@pytest.mark.parametrize("on_host", [True, False])
def test_start_from_a_released_model_deferred(tmp_path, golden_dir, monkeypatch, on_host):
    for place in ("openlrm.ops", "openlrm.families.lrm.task"):
        monkeypatch.setattr(f"{place}.marches_on_host", lambda: on_host)
    more = ["model.rendering_samples_per_ray=24", "train.train_steps=1", "train.deferred_region=4"]
    more += ["train.optim.start_learning_rate=0", "train.optim.weight_decay=0", f"saver.load_model={golden_dir}"]
    assert train(tmp_path, *QUIET, *more) == 0
    log = (the_run(tmp_path) / "log_0.txt").read_text(encoding="utf-8")
    assert ("deferred_region is not needed here" in log) == on_host
    released = read_tensors(golden_dir / "model.safetensors")
    for name, value in read_tensors(the_run(tmp_path) / "ckpt" / "openlrm-e1.ckpt").items():
        np.testing.assert_array_equal(value, released[name])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train.precision.amp_level=O2", "train.precision.dtype=bf16"], "not there yet"),
        (["train.loss.perceptual_weight=1"], "LPIPS needs regions of 16"),
        (["train.loss.frequency_weight=1"], "the frequency loss needs whole pictures"),
        (
            ["train.loss.frequency_weight=1", "data.render_image_low=8", "data.render_image_high=8",
             "train.loss.freq_cutoff=0"],
            "a cutoff of 0 does not cut",
        ),
        (
            ["train.loss.perceptual_weight=1", "train.loss.lpips_backbone=nowhere.safetensors",
             "data.render_region_size=16", "data.render_image_low=16"],
            "train.loss.perceptual_weight=0",
        ),
        (["model.encoder_freeze=true"], "random weights"),
        (["train.deferred_region=3"], "deferred_region=3 does not divide"),
        (["model.transformer_heads=5"], "does not divide transformer_dim"),
        (["train.optim.start_learning_rat=1"], "start_learning_rate"),
        (["val.val_uids=[food_dinner]"], "no training objects are left"),
        (["val.stop_drop=1"], "val.stop_drop compares held-out objects"),
        (["saver.load_model=nowhere"], "model not found"),
        (["saver.resume=nowhere"], "not a run folder"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(tmp_path, capsys, options, words):
    assert train(tmp_path, "train.train_steps=1", *options) == 2
    error = capsys.readouterr().err
    assert words in error.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def split_set(tmp_path):
    """Two objects to train on and one to validate on, as render.objaverse leaves them."""
    root = tmp_path / "set"
    for uid in ("t1", "t2", "v1"):
        shutil.copytree("assets/sample_object/food_dinner", root / uid)
    (root / "meta.json").write_text('["t1", "t2"]')
    (root / "meta_val.json").write_text('["v1"]')
    return root


@pytest.mark.parametrize("where", ["val_root", "training folder"])
def test_list_for_validation_is_measured(tmp_path, split_set, where):
    more = ["train.train_steps=1", "val.val_interval=1", f"data.subsets=[{{root_dirs: [{split_set}]}}]"]
    more += [f"val.val_root={split_set}"] if where == "val_root" else []
    assert train(tmp_path / "out", *more) == 0
    folder = the_run(tmp_path / "out")
    assert json.loads((folder / "train_uids.json").read_text()) == ["t1", "t2"]
    assert "validation: 1 held-out objects, v1 first" in (folder / "log_0.txt").read_text()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["objects"] for record in records if "psnr" in record] == ["held-out"]


def test_validation_on_training_objects_is_refused_by_name_or_called_so(tmp_path, split_set, capsys):
    (split_set / "meta_val.json").write_text('["v1", "t2"]')
    more = ["train.train_steps=1", "val.val_interval=1", "val.val_objects=2"]
    more += [f"data.subsets=[{{root_dirs: [{split_set}]}}]"]
    assert train(tmp_path / "out", *more) == 2
    assert "1 of 2 validation objects are trained on: t2" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert train(tmp_path / "out", *more, "val.val_overlap=true") == 0
    folder = the_run(tmp_path / "out")
    assert "step 1, partly trained-on objects: psnr" in (folder / "log_0.txt").read_text()
    assert '"objects": "partly trained-on"' in (folder / "metrics.jsonl").read_text()
    page = (folder / "report.html").read_text()
    assert "partly trained-on objects" in page
    assert "this says nothing of new ones" in page


def test_val_uids_leave_the_training_data_wherever_they_lie(tmp_path, split_set):
    more = ["train.train_steps=1", "val.val_interval=1", f"data.subsets=[{{root_dirs: [{split_set}]}}]"]
    assert train(tmp_path / "out", *more, f"val.val_root={split_set}", "val.val_uids=[t2]") == 0
    assert json.loads((the_run(tmp_path / "out") / "train_uids.json").read_text()) == ["t1"]


def test_resume_with_another_model_or_data_is_refused(tmp_path, straight, capsys):
    options = ["train.use_ema=true", "--resume", str(straight), "seed=7", "train.train_steps=20"]
    assert train(tmp_path, *options, "model.triplane_dim=4") == 2
    error = capsys.readouterr().err
    assert "seed 42 -> 7" in error
    assert "model.triplane_dim 8 -> 4" in error


def test_flags_of_the_published_scripts_are_understood(tmp_path, capsys):
    flags = (
        "--mode 1 --num_parallel_workers 1 --epochs 3 --dtype fp32 --amp_level O0 --use_recompute false "
        "--loss_scaler_type dynamic --init_loss_scale 1024 --gradient_accumulation_steps 2 --use_ema true "
        "--ckpt_save_interval 2 --ckpt_save_steps 0 --ckpt_max_keep 3 --start_learning_rate 1e-4 "
        "--end_learning_rate 1e-5 --warmup_steps 1 --scheduler cosine --optim adamw --betas 0.9,0.99 "
        "--weight_decay 0.01 --clip_grad true --max_grad_norm 0.5 --seed 3 --profile --debug false --log_interval 1"
    )
    assert train(tmp_path, *QUIET, "train.train_steps=1", *flags.split()) == 0
    config = yaml.safe_load((the_run(tmp_path) / "cfg.yaml").read_text())
    assert config["train"]["optim"]["betas"] == [0.9, 0.99]
    assert config["train"]["scheduler"]["end_learning_rate"] == 1e-5
    assert config["train"]["gradient_accumulation_steps"] == 2
    assert config["report"]["profile"] is True
    assert config["seed"] == 3


def test_frequency_loss_of_whole_pictures(tmp_path):
    whole = ["data.render_image_low=8", "data.render_image_high=8", "train.loss.frequency_weight=2"]
    more = ["train.train_steps=1", *(f"train.loss.{part}_weight=0" for part in ("pixel", "mask", "tv"))]
    assert train(tmp_path, *QUIET, *whole, *more) == 0
    (line,) = (the_run(tmp_path) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    parts = json.loads(line)["train"]
    assert parts["loss"] == pytest.approx(2 * parts["frequency"]) and parts["frequency"] > parts["pixel"]
