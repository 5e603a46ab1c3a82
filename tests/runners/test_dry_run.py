"""`--dry_run`: what it prints is a config that can be used again, nothing is written."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from openlrm import launch
from openlrm.training.estimate import duration

REPO = Path(__file__).resolve().parents[2]
SAMPLE = REPO / "assets" / "sample_object"


@pytest.fixture
def dry(tmp_path, monkeypatch, capsys):
    """Run a command with --dry_run in an empty folder: its options as YAML reads them, and its comments."""
    monkeypatch.chdir(tmp_path)

    def dry(*argv: str, device: bool = True) -> tuple[dict, list[str]]:
        assert launch.main([*argv, "--dry_run", *(("--device_target", "CPU") if device else ())]) == 0
        out = capsys.readouterr().out
        (tmp_path / "again.yaml").write_text(out)
        assert [path.name for path in tmp_path.rglob("*")] == ["again.yaml"]
        return yaml.safe_load(out), [line[2:] for line in out.splitlines() if line.startswith("# ")]

    return dry


def test_infer(dry, golden_dir):
    pictures = REPO / "assets" / "sample_input"
    arguments = (f"model_name={golden_dir}", f"image_input={pictures}", "source_size=56", "export_mesh=true")
    options, facts = dry("infer.lrm", *arguments)
    assert options["source_size"] == 56
    assert options["dry_run"] is False
    count = len(list(pictures.glob("*.png")))
    weights = load_file(golden_dir / "model.safetensors")
    millions = sum(tensor.size for tensor in weights.values()) / 1e6
    assert facts[0].startswith(f"model golden, {golden_dir}/model.safetensors: {millions:.2f} M parameters")
    assert facts[1:] == [f"writes dumps/golden/meshes/{path.stem}.ply" for path in sorted(pictures.glob("*.png"))]
    assert len(facts) == count + 1


def test_eval(dry, golden_dir):
    options, facts = dry("eval.lrm", f"model_path={golden_dir}", f"data_root={SAMPLE}", "source_size=56")
    assert options["data_root"] == str(SAMPLE)
    (uid,) = yaml.safe_load((SAMPLE / "meta.json").read_text())
    assert facts[1:4] == [
        f"1 objects of {SAMPLE}",
        "writes outputs/eval/golden/release/metrics.json",
        f"writes outputs/eval/golden/release/sheets/{uid}.png",
    ]


def test_render(dry, tmp_path_factory):
    objects = tmp_path_factory.mktemp("objects")
    for name in "abc":
        (objects / f"{name}.glb").touch()
    arguments = ("render.objaverse", f"input={objects}", "output=renders", f"blender={sys.executable}")
    options, facts = dry(*arguments, "limit=2", "render.views=5", device=False)
    assert (options["limit"], options["render"]["views"]) == (2, 5)
    assert "blender_script.py" in facts[0] and "--views 5" in facts[0]
    assert facts[1:] == ["2 objects to render, 0 there already, 0 given up"]


def test_render_of_objaverse_fetches_nothing(dry, tmp_path_factory):
    uids = tmp_path_factory.mktemp("lists") / "uids.txt"
    uids.write_text("one\ntwo\nthree\n")
    arguments = ("render.objaverse", f"objaverse={uids}", "output=renders", f"blender={sys.executable}")
    _, facts = dry(*arguments, device=False)
    assert facts[1] == "3 objects of Objaverse, those that are not there are fetched"
    parts = [dry(*arguments, f"shard={part}/2", device=False)[1][1] for part in (1, 2)]
    assert sum(int(fact.split()[0]) for fact in parts) == 3


def test_train(dry, tmp_path, capsys):
    data = "data.subsets=[{root_dirs: [" + str(SAMPLE) + "]}]"
    arguments = ("train.lrm", "--config", str(REPO / "configs" / "train-sample-debug.yaml"), data)
    options, facts = dry(*arguments, "seed=7", "train.train_steps=50")
    assert options["seed"] == 7
    assert {
        "device CPU, mode 1 (PyNative)",
        "0.2 M parameters, 0.2 M of them trained",
        "1 objects, 1 batches an epoch, 50 steps in all",
    } <= set(facts)
    told, step = re.search(r"time: about (.+) for 50 steps: ([\d.]+) s a step", facts[-1]).groups()
    # The step is printed rounded to 0.01 s.
    assert told in {duration(50 * (float(step) + rest)) for rest in np.linspace(-0.005, 0.005, 101)}

    assert launch.main(["train.lrm", "--config", str(tmp_path / "again.yaml"), "--dry_run"]) == 0
    again = capsys.readouterr().out
    assert yaml.safe_load(again) == options


def test_train_is_not_timed_without_memory(dry, monkeypatch):
    import psutil

    class Full:
        available = 2**20

    monkeypatch.setattr(psutil, "virtual_memory", Full)
    data = "data.subsets=[{root_dirs: [" + str(SAMPLE) + "]}]"
    _, facts = dry("train.lrm", "--config", str(REPO / "configs" / "train-sample-debug.yaml"), data)
    assert facts[-1] == "time: not measured, 0.0 GiB of memory are free"
