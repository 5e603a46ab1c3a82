"""Released layout -> .ckpt -> released layout: not a bit changes."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from openlrm.launch import exit_code

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / "scripts" / "convert_hf.py"


@pytest.fixture(scope="module")
def convert():
    """Run the command line in this process; returns its exit code."""
    spec = importlib.util.spec_from_file_location("convert_hf", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: exit_code(module.main, [str(argument) for argument in arguments])


def same_bits(path, reference):
    tensors, expected = load_file(path), load_file(reference)
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype and tensors[name].tobytes() == value.tobytes(), name


def test_both_ways_as_a_user_types_it(golden_dir, tmp_path):
    for arguments in (
        ["to-ckpt", golden_dir, "run/ckpt/openlrm-e3.ckpt"],
        ["to-release", "run/ckpt/openlrm-e3.ckpt", "release"],
    ):
        result = subprocess.run(
            [sys.executable, SCRIPT, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f"wrote {arguments[-1]}\n"
    same_bits(tmp_path / "release" / "model.safetensors", golden_dir / "model.safetensors")
    config = json.loads((golden_dir / "config.json").read_text())
    for folder in ("run/ckpt", "release"):
        assert json.loads((tmp_path / folder / "config.json").read_text()) == config


def test_half_the_size(convert, golden_dir, tmp_path):
    assert convert("to-release", golden_dir, tmp_path / "half", "--half") == 0
    tensors, expected = load_file(tmp_path / "half/model.safetensors"), load_file(golden_dir / "model.safetensors")
    assert all(value.dtype == np.float16 for value in tensors.values())
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value.astype(np.float16), err_msg=name)
    # It loads like any other, and is written again as float32.
    assert convert("to-release", tmp_path / "half", tmp_path / "back") == 0
    for name, value in load_file(tmp_path / "back/model.safetensors").items():
        np.testing.assert_array_equal(value, tensors[name].astype(np.float32), err_msg=name)


def test_what_float16_cannot_hold_is_refused(convert, golden_dir, tmp_path, capsys):
    tensors = load_file(golden_dir / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name] = np.full_like(tensors[name], 7e4)
    (tmp_path / "large").mkdir()
    shutil.copy(golden_dir / "config.json", tmp_path / "large")
    save_file(tensors, tmp_path / "large/model.safetensors")
    assert convert("to-release", tmp_path / "large", tmp_path / "half", "--half") == 2
    assert f"{name} does not fit float16" in capsys.readouterr().err
    assert not (tmp_path / "half/model.safetensors").exists()


def test_checkpoint_of_a_run_is_chosen(convert, golden_dir, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "ckpt").mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(golden_dir / "config.json", other)
    shutil.copy(golden_dir / "config.json", run)
    weights = load_file(golden_dir / "model.safetensors")
    save_file({name: np.float32(2) * value for name, value in weights.items()}, other / "model.safetensors")
    assert convert("to-ckpt", golden_dir, run / "ckpt" / "openlrm-e3.ckpt") == 0
    assert convert("to-ckpt", other, run / "ckpt" / "openlrm-e4.ckpt") == 0
    for choice, reference in (
        (["--epoch", "3"], golden_dir),
        (["--ckpt", "openlrm-e3.ckpt"], golden_dir),
        ([], other),
    ):
        assert convert("to-release", run, tmp_path / "release", *choice) == 0
        same_bits(tmp_path / "release" / "model.safetensors", reference / "model.safetensors")
    assert convert("to-release", run, tmp_path / "none", "--epoch", "7") == 2
    assert "error: no checkpoint of epoch 7" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_config_beside_the_checkpoint_is_kept_or_refused(convert, golden_dir, tmp_path, capsys):
    config = json.loads((golden_dir / "config.json").read_text())
    beside = tmp_path / "config.json"
    beside.write_text(json.dumps(config))  # the same model, written another way
    written = beside.read_bytes()
    assert convert("to-ckpt", golden_dir, tmp_path / "a.ckpt") == 0
    assert beside.read_bytes() == written
    beside.write_text(json.dumps(config | {"transformer_layers": 3}))
    assert convert("to-ckpt", golden_dir, tmp_path / "b.ckpt") == 2
    assert "error: the config beside the checkpoint is another model's" in capsys.readouterr().err
    assert not (tmp_path / "b.ckpt").exists()


def test_mistakes_are_one_line(convert, golden_dir, tmp_path, capsys):
    for arguments in (
        ("to-ckpt", golden_dir, tmp_path / "x.bin"),
        ("to-ckpt", tmp_path / "none", tmp_path / "x.ckpt"),
        ("to-release", tmp_path, tmp_path / "out"),
    ):
        assert convert(*arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
