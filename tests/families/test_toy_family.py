"""A family of its own, installed as a package of its own: everything works for it without a change anywhere else."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "add-a-family.md"

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "toy-family"
version = "1.0"
[project.entry-points."openlrm.families"]
toy = "toy_family:Toy"
[tool.setuptools]
py-modules = ["toy_family"]
"""

SMALL = (
    *("data.sample_side_views=2", "data.source_image_res=16", "data.render_image_low=8", "data.render_image_high=16"),
    *("data.render_region_size=8", "val.val_interval=2", "val.val_size=12", "val.val_views=3"),
    *("train.scheduler.warmup_steps=0", "train.optim.start_learning_rate=0.01", "saver.ckpt_save_steps=2"),
    *("report.log_interval=1", "device_target=CPU"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the installed package."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "toy_family.py").write_text((HERE / "toy" / "toy_family.py").read_text())
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([*install, source], check=True, capture_output=True)
    return site


@pytest.fixture(scope="module")
def openlrm(site, repo, tmp_path_factory):
    """Runs a command line as a user types it, with the package installed."""
    folder = tmp_path_factory.mktemp("work")

    def run(*arguments, code=0):
        environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{repo}"}
        command = [sys.executable, "-m", "openlrm.launch", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    run.folder = folder
    return run


def documented(name: str, folder: Path | None = None) -> list[list[str]]:
    """Commands of a runner as the page has them, split as a shell does, TIME in them the run folder's."""
    lines = (line.removeprefix("python -m openlrm.launch ") for line in PAGE.read_text().splitlines())
    found = [shlex.split(line) for line in lines if line.startswith(f"{name} ")]
    assert found, name
    return [[word.replace("TIME", folder.name if folder else "TIME") for word in words] for words in found]


@pytest.fixture(scope="module")
def trained(openlrm, repo) -> Path:
    """Run folder of eight steps, the last four after a stop."""
    (openlrm.folder / "assets").symlink_to(repo / "assets")
    first, _ = documented("train.toy")
    openlrm(*first, *SMALL)
    (folder,) = (openlrm.folder / "outputs" / "toy").iterdir()
    _, second = documented("train.toy", folder)
    openlrm(*second)
    return folder


def test_it_is_small():
    assert len((HERE / "toy" / "toy_family.py").read_text().splitlines()) < 120


def test_it_is_listed_with_its_commands(openlrm):
    told, _ = openlrm("models")
    assert "lrm: one picture" in told and "toy: mean colour -> tinted triplane" in told
    assert "source pictures: 1 to 2" in told
    listed = json.loads(openlrm("models", "as_json=true")[0])
    assert set(listed) >= {"lrm", "toy"} and listed["toy"]["presets"][0]["source_size"] == 16
    runners, _ = openlrm("--help")
    assert "train.toy" in runners and "train.lrm" in runners
    options, _ = openlrm("train.toy", "--help")
    assert "model.channels" in options and "data.source_image_res" in options and "tv_weight" not in options
    assert "did you mean train.toy?" in openlrm("train.toi", code=2)[1]


def test_it_trains_and_goes_on(trained):
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = {record["step"]: record["train"]["loss"] for record in records if "train" in record}
    assert sorted(losses) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(np.isfinite(loss) for loss in losses.values())
    assert {record["step"] for record in records if "psnr" in record} == {2, 4, 6, 8}
    config = json.loads((trained / "config.json").read_text())
    assert config == {"model_type": "toy", "side": 8, "channels": 4, "samples": 8, "source_size": 16}


def test_it_is_evaluated(openlrm, trained, repo):
    (command,) = documented("eval.toy", trained)
    openlrm(*command, "render_size=12", "lpips_backbone=none", "output_path=eval")
    figures = json.loads((openlrm.folder / "eval" / "e8" / "metrics.json").read_text())
    assert np.isfinite(figures["mean"]["without_input_view"]["psnr"])


def test_it_is_exported(openlrm, trained, repo):
    picture = repo / "assets" / "sample_input" / "mug_full.png"
    shutil.copy(picture, openlrm.folder / "cup.png")
    (command,) = documented("infer.toy", trained)
    openlrm(*command, "mesh_format=glb", "mesh_size=16", "mesh_thres=0.05")
    # The runner's family is the model's: the name it is called by does not matter.
    video = ["export_mesh=false", "export_video=true", "video_format=gif", "render_size=8", "render_views=2"]
    openlrm("infer.lrm", *(word for word in command[1:] if not word.startswith("export")), *video)
    dumps = openlrm.folder / "dumps"
    (mesh,), (video,) = dumps.rglob("*.glb"), dumps.rglob("*.gif")
    assert len(trimesh.load(mesh, force="mesh").faces) > 10 and video.stat().st_size > 100


def test_several_pictures_with_cameras(site, repo, trained):
    script = (
        "import numpy as np, openlrm\n"
        "from openlrm.cameras import Camera, turntable\n"
        f"model = openlrm.load_model({str(trained)!r}, 'CPU')\n"
        "picture = np.full((20, 20, 3), 0.5, np.float32)\n"
        "scene = openlrm.reconstruct([picture, picture], model, cameras=Camera(turntable(2)), background='keep')\n"
        "assert scene.render(size=8).size == (8, 8)\n"
        f"cup = {str(repo / 'assets' / 'sample_object' / 'food_dinner')!r}\n"
        "from openlrm.preprocess.posed_views import ViewOptions\n"
        "scene = openlrm.reconstruct(cup, model, cameras='folder', views=ViewOptions(count=2))\n"
        "assert scene.render(size=8).size == (8, 8)\n"
        "scene = openlrm.reconstruct([picture, picture], model, cameras='orbit', background='keep')\n"
        "assert scene.render(size=8).size == (8, 8)\n"
        "assert type(model.model).__name__ == 'ToyModel' and model.source_size == 16\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{repo}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_posed_pictures(openlrm, trained, repo):
    """A folder with cameras, a sheet with named ones: from the command line and from Python."""
    cup = repo / "assets" / "sample_object" / "food_dinner"
    mesh = ["export_mesh=true", "mesh_format=ply", "mesh_size=16", "mesh_thres=0.05", "device_target=CPU"]
    told = openlrm("infer.toy", f"model_name={trained}", f"views={cup}", "view=2", *mesh)[1]
    assert "2 views" in told and list((openlrm.folder / "dumps").rglob("food_dinner.ply"))
    _, error = openlrm("infer.toy", f"model_name={trained}", f"views={cup}", *mesh, code=2)
    assert "32 pictures, but" in error.splitlines()[-1] and "view=2" in error.splitlines()[-1]
    sheet = openlrm.folder / "sheet.png"
    Image.fromarray(np.full((96, 64, 3), 255, np.uint8)).save(sheet)
    posed = [f"views={sheet}", "cameras=zero123plus", "view_indices=0,3", "scale=0.9"]
    openlrm("infer.toy", f"model_name={trained}", *posed, *mesh)
    assert list((openlrm.folder / "dumps").rglob("sheet.ply"))
    refused = [
        (["cameras=zero123plu"], "did you mean zero123plus?"),
        (["cameras=sv3d"], "1 pictures, but sv3d has 21 cameras"),
        (["cameras=zero123plus", "grid=2,2"], "64 x 96 pixels has no 2 rows of 2 squares"),
        (["cameras=zero123plus", "grid=2"], "grid=[2] is not rows and columns"),
        (["cameras=zero123plus", "recentre=true"], "views and recentre contradict each other"),
        (["cameras=zero123plus", f"image_input={sheet}"], "views and image_input contradict each other"),
        ([], "pictures without their cameras"),
    ]
    for options, said in refused:
        _, error = openlrm("infer.toy", f"model_name={trained}", f"views={sheet}", *options, *mesh, code=2)
        assert said in error.splitlines()[-1] and "Traceback" not in error


def test_without_the_package_its_models_are_refused(repo, trained):
    command = [sys.executable, "-m", "openlrm.launch", "infer.lrm", f"model_name={trained}", "export_mesh=true"]
    command += [f"image_input={repo / 'assets' / 'sample_input' / 'mug_full.png'}"]
    environment = os.environ | {"PYTHONPATH": str(repo)}
    done = subprocess.run(command, env=environment, cwd=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no model family 'toy'" in done.stderr.splitlines()[-1]
