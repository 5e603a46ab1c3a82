"""Both stages and a mesh through the command line, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

CONFIG = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="module")
def run(repo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "assets").symlink_to(repo / "assets")

    def command(*arguments, code=0):
        environment = os.environ | {"PYTHONPATH": str(repo)}
        words = [sys.executable, "-m", "openlrm.launch", *map(str, arguments)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stderr

    command.folder = folder
    return command


@pytest.fixture(scope="module")
def volume(run) -> Path:
    """Run folder of stage 1."""
    run("train.instantmesh", "--config", CONFIG, "stage=1", "saver.name=volume")
    (folder,) = (run.folder / "outputs" / "volume").iterdir()
    return folder


@pytest.fixture(scope="module")
def mesh(run, volume) -> Path:
    """Run folder of stage 2, begun at a level that the untrained density has."""
    start = [f"saver.load_model={volume}", "start_level=0", "train.optim.start_learning_rate=1e-6"]
    told = run("train.instantmesh", "--config", CONFIG, "stage=2", "saver.name=mesh", *start)
    assert "the surface begins where raw density is 0" in told and "no depth and no normal maps" in told
    (folder,) = (run.folder / "outputs" / "mesh").iterdir()
    return folder


def losses(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record["train"] for record in records if "train" in record]


def test_stage_one(volume):
    assert len(losses(volume)) == 3 and all(np.isfinite(step["loss"]) for step in losses(volume))
    config = json.loads((volume / "config.json").read_text())
    assert (config["model_type"], config["kind"], config["source_size"]) == ("instantmesh", "nerf", 32)


def test_stage_two(mesh):
    steps = losses(mesh)
    assert len(steps) == 3 and all(np.isfinite(step["loss"]) for step in steps)
    assert {"sign", "deviation", "flex", "empty", "faces", "border"} <= steps[0].keys() and steps[0]["faces"] > 0
    assert json.loads((mesh / "config.json").read_text())["kind"] == "mesh"


def test_a_mesh_of_posed_pictures(run, mesh):
    views = ["views=[assets/sample_object/food_dinner]", "view_indices=[0,8,16]"]
    run("infer.instantmesh", f"model_name={mesh}", *views, "export_mesh=true", "mesh_format=glb")
    (file,) = (run.folder / "dumps").rglob("*.glb")
    assert len(trimesh.load(file, force="mesh").faces) > 10


def test_a_stage_without_its_start_is_refused(run, mesh):
    told = run("train.instantmesh", "--config", CONFIG, "stage=2", code=2)
    assert "stage=2 starts from a model of stage 1" in told.splitlines()[-1]
    told = run("train.instantmesh", "--config", CONFIG, "stage=1", f"saver.load_model={mesh}", code=2)
    assert "load_model is a mesh model" in told.splitlines()[-1]
