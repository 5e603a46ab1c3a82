"""The README's commands for training, inference from a checkpoint and evaluation, as typed, at miniature size."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import imageio
import numpy as np
import pytest
import trimesh

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]

# What makes each command small; everything else is the README's.
SMALLER = {
    "train.lrm": [
        "data.source_image_res=56",
        "data.render_image_low=16",
        "data.render_image_high=24",
        "data.render_region_size=16",
        "train.deferred_region=8",
        "train.loss.perceptual_weight=0",
        "val.val_interval=0",
    ],
    "infer.lrm": ["source_size=56", "render_size=32", "render_views=3", "mesh_size=32", "mesh_thres=1"],
    "eval.py": ["render_size=16", "lpips_backbone=none"],
}


def readme_commands() -> list[list[str]]:
    """Every command of the README's shell blocks, in words."""
    blocks = re.findall(r"```bash\n(.*?)```", (REPO / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(command) for line in lines for command in line.split(" && ")]


def find(name: str, *words: str) -> list[str]:
    """The one command that holds these words."""
    (found,) = [c for c in readme_commands() if name in c and all(word in " ".join(c) for word in words)]
    return found


@pytest.fixture
def run(tmp_path):
    """Run a command of the README in a folder that holds what its paths name."""
    for name in ("configs", "assets", "eval.py"):
        (tmp_path / name).symlink_to(REPO / name)

    def run(command: list[str], *more: str, time: str = "") -> None:
        assert command[0] == "python"
        words = [word.replace("<time>", time).replace("100000", "2") for word in command[1:]]
        environment = os.environ | {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
        result = subprocess.run(
            [sys.executable, *words, *more, "device_target=CPU"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]

    return run


def test_first_command(run, tmp_path):
    """At full size: it is to take less than a minute."""
    run(find("infer.lrm", "infer-demo.yaml"))
    results = tmp_path / "dumps" / "openlrm-tiny-demo"
    with imageio.get_reader(results / "videos" / "building_g.mp4") as video:
        assert video.get_meta_data()["size"] == (192, 192)
        assert video.count_frames() == 80
    mesh = trimesh.load_mesh(results / "meshes" / "building_g.glb")
    assert len(mesh.faces) > 1000
    assert np.ptp(mesh.vertices, axis=0).min() > 0.3


def test_python_example(tmp_path, monkeypatch):
    """The one of five lines."""
    text = (REPO / "README.md").read_text(encoding="utf-8")
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "reconstruct" in c]
    (tmp_path / "assets").symlink_to(REPO / "assets")
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)
    assert found["picture"].size == (256, 256)
    assert np.asarray(found["picture"]).min() < 200
    assert len(trimesh.load_mesh("building.glb").faces) == len(found["mesh"].faces)


def test_train_infer_and_eval(run, tmp_path, golden_dir, mini_config):
    # The golden model: its mesh has a surface from the start.
    model = [f"model.{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in mini_config.items()]
    model.append(f"saver.load_model={golden_dir}")
    run(find("train.lrm", "train-sample-small.yaml", "--epochs"), *SMALLER["train.lrm"], *model)
    (folder,) = (tmp_path / "outputs" / "small").iterdir()
    assert (folder / "ckpt" / "openlrm-e2.ckpt").is_file()

    run(find("infer.lrm", "model_ckpt="), *SMALLER["infer.lrm"], time=folder.name)
    pictures = {path.stem for path in (REPO / "assets" / "sample_input").glob("*.png")}
    results = tmp_path / "dumps" / "small" / folder.name / "e2"
    assert {path.name for path in (results / "videos").iterdir()} == {f"{name}.mp4" for name in pictures}
    assert {path.name for path in (results / "meshes").iterdir()} == {f"{name}.ply" for name in pictures}

    run(find("eval.py"), *SMALLER["eval.py"], time=folder.name)
    names = {path.name for path in (tmp_path / "output" / "small" / "e2").iterdir()}
    assert names == {"report.html", "log_0.txt", "metrics.json", "metrics.csv", "protocol.yaml", "sheets"}
