"""Run folders and releases from before there were several families load, go on and are measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import openlrm
from openlrm import launch
from openlrm.checkpoint import locate_model
from openlrm.errors import UserError
from openlrm.families.reconstructor import family_of, known_source_size

OLD = Path(__file__).resolve().parents[2] / "old_run"


@pytest.fixture
def run(tmp_path, monkeypatch, repo) -> Path:
    """A copy of the old folder; data are found from the repository."""
    monkeypatch.chdir(repo)
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    return folder


def test_it_goes_on_as_it_would_have(run, tmp_path):
    arguments = ["--config", str(run / "cfg.yaml"), "--resume", str(run), "train.train_steps=6"]
    assert launch.main(["train.lrm", *arguments]) == 0
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {record["step"]: record["train"]["loss"] for record in records if "train" in record}
    expected = {int(step): loss for step, loss in json.loads((OLD / "continued.json").read_text()).items()}
    assert sorted(losses) == [1, 2, 3, 4, 5, 6]
    for step, loss in expected.items():
        # The same bits on the machine that wrote it; other kernels round otherwise.
        assert losses[step] == pytest.approx(loss, rel=1e-4), step


def test_it_is_used_and_measured(run, tmp_path):
    located = locate_model(str(run))
    assert (family_of(located).name, known_source_size(located)) == ("lrm", 28)
    picture = np.asarray(
        openlrm.reconstruct("assets/sample_input/mug_full.png", str(run), device_target="CPU").render()
    )
    assert picture.std() > 1
    output = ["render_size=16", "lpips_backbone=none", f"output_path={tmp_path / 'eval'}", "uids=food_dinner"]
    assert launch.main(["eval.lrm", f"model_path={run}", *output]) == 0
    figures = json.loads((tmp_path / "eval" / "e3" / "metrics.json").read_text())
    assert figures["mean"]["without_input_view"]["psnr"] > 10


def test_a_release_keeps_its_layout(tmp_path, mini, mini_config):
    """What is saved can be read by PyTorch's program: config.json gains nothing unless the size is known."""
    mini.save_pretrained(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "config.json").read_text()) == mini_config
    (tmp_path / "a" / "config.json").write_text(json.dumps(mini_config | {"source_size": 70, "model_type": "lrm"}))
    again = openlrm.load_model(tmp_path / "a", "CPU")
    assert again.source_size == 70
    again.model.save_pretrained(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == mini_config | {"source_size": 70}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model_type": "lrn"}, "no model family 'lrn'.*did you mean lrm"),
        ({"model_type": 3}, "no model family 3"),
        ({"source_size": "large"}, "source_size='large' is not a positive whole number"),
        ({"transformer_dimm": 3}, "unknown keys in the model config: transformer_dimm"),
    ],
)
def test_configs_that_cannot_be(tmp_path, golden_dir, mini_config, keys, words):
    shutil.copytree(golden_dir, tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(json.dumps(mini_config | keys))
    with pytest.raises(UserError, match=words):
        openlrm.load_model(tmp_path / "m", "CPU")
