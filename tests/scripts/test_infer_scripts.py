"""The shell scripts, run as a user does with the miniature model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((REPO / "scripts").glob("*.sh"))
SMALL = ["source_size=56", "render_size=32", "render_views=3", "mesh_size=32", "device_target=CPU"]
EVALUATED = ["source_size=56", "render_size=16", "lpips_backbone=none", "device_target=CPU"]
SAMPLE = f"data_root={REPO / 'assets' / 'sample_object'}"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def run(script, folder, *arguments, **variables):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", REPO / "scripts" / script, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(REPO)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def written(folder):
    return {str(path.relative_to(folder)) for path in (folder / "dumps").rglob("*") if path.is_file()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    if script.name == "ascend_env.sh":  # sourced by the others, which have set their options
        assert not text.startswith("#!")
        return
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in text


def test_released_model(golden_dir, tmp_path):
    picture = REPO / "assets" / "sample_input" / "knight.png"
    result = run(
        "infer_hf.sh",
        tmp_path,
        *SMALL,
        "mesh_thres=1",
        "mesh_format=glb",
        MODEL_NAME=str(golden_dir),
        IMAGE_INPUT=str(picture),
        INFER_CONFIG=str(REPO / "configs" / "infer-s.yaml"),
    )
    assert result.returncode == 0, result.stderr
    assert written(tmp_path) == {"dumps/golden/videos/knight.mp4", "dumps/golden/meshes/knight.glb"}


@pytest.fixture
def run_folder(golden_dir, tmp_path) -> Path:
    """Config and two checkpoints, as train.lrm leaves them."""
    from safetensors.numpy import load_file

    from openlrm.checkpoint import write_ckpt

    folder = tmp_path / "my run"
    (folder / "ckpt").mkdir(parents=True)
    shutil.copy(golden_dir / "config.json", folder)
    for epoch in (1, 2):
        write_ckpt(folder / "ckpt" / f"openlrm-e{epoch}.ckpt", load_file(golden_dir / "model.safetensors"))
    return folder


def test_run_folder(run_folder, tmp_path):
    picture = tmp_path / "the cup.png"
    shutil.copy(REPO / "assets" / "sample_input" / "mug_full.png", picture)
    result = run(
        "infer_ms.sh",
        tmp_path,
        *SMALL,
        MODEL_NAME=str(run_folder),
        EPOCH="1",
        IMAGE_INPUT=str(picture),
        EXPORT_MESH="false",
    )
    assert result.returncode == 0, result.stderr
    assert written(tmp_path) == {"dumps/my run/e1/videos/the cup.mp4"}
    assert "openlrm-e1.ckpt" in result.stderr


def test_a_run_folder_has_to_be_named(tmp_path):
    result = run("infer_ms.sh", tmp_path, MODEL_NAME="")
    assert result.returncode != 0
    assert "MODEL_NAME" in result.stderr and "run folder" in result.stderr


def test_evaluation(run_folder, tmp_path):
    variables = {"MODEL_PATH": str(run_folder), "CKPT_NAME": "openlrm-e1.ckpt", "OUTPUT_PATH": "the figures"}
    result = run("eval.sh", tmp_path, SAMPLE, *EVALUATED, **variables)
    assert result.returncode == 0, result.stderr
    assert "openlrm-e1.ckpt" in (tmp_path / "the figures" / "e1" / "log_0.txt").read_text()
    assert (tmp_path / "the figures" / "e1" / "metrics.json").is_file()


def test_evaluation_of_the_newest_checkpoint(run_folder, tmp_path):
    result = run("eval.sh", tmp_path, SAMPLE, *EVALUATED, MODEL_PATH=str(run_folder))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "outputs" / "eval" / "my run" / "e2" / "metrics.json").is_file()


def test_a_model_has_to_be_named_for_evaluation(tmp_path):
    result = run("eval.sh", tmp_path, MODEL_PATH="")
    assert result.returncode != 0
    assert "MODEL_PATH" in result.stderr and "run folder" in result.stderr


def test_ascend_settings_reach_the_command_and_own_ones_stay(tmp_path):
    """A stand-in for python tells what it was started with."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$DEVICE_ID $MS_INDEPENDENT_DATASET $MS_ALLOC_CONF" "$@"\n')
    python.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    result = run("eval.sh", tmp_path, "uids=a", PATH=path, MODEL_PATH="m", DEVICE_ID="3", MS_ALLOC_CONF="mine")
    start, _, arguments = result.stdout.partition(str(REPO / "eval.py"))
    assert start.split() == ["3", "True", "mine"]
    assert arguments.split() == ["model_path=m", "ckpt_name=", "output_path=", "uids=a"]
