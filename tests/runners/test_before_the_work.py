"""Outputs that cannot be written, and programs that are missing, are told before anything is computed."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from openlrm.launch import main

REPO = Path(__file__).resolve().parents[2]
GOLDEN, MUG = REPO / "openlrm" / "families" / "lrm" / "golden", REPO / "assets" / "sample_input" / "mug_full.png"
INFER = ["infer.lrm", f"model_name={GOLDEN}", f"image_input={MUG}", "device_target=CPU"]
FIT = ["fit.triplane", "data_root=assets/sample_object", "uid=food_dinner", "device_target=CPU"]
TRAIN = ["train.lrm", "--config", "configs/train-sample-debug.yaml", "device_target=CPU"]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(REPO)


def idle(monkeypatch):
    """Let everything that takes long fail the test."""

    def at_work(*_, **__):
        pytest.fail("it had begun to work")

    for place in (
        "openlrm.families.reconstructor.Reconstructor.load",
        "openlrm.representations.read_representation",
        "openlrm.runners.fit.triplane.FitTriplane._start",
        "openlrm.families.lrm.family.LRM.task",
        "openlrm.families.reconstructor.build_model",
        "openlrm.runners.check.data.CheckData._inspect",
        "openlrm.preprocess.prepare_picture",
        "openlrm.reports.compare",
    ):
        monkeypatch.setattr(place, at_work)


COMMANDS = {
    "mesh": [*INFER, "export_mesh=true", "mesh_dump={}"],
    "video": [*INFER, "export_video=true", "video_dump={}", "video_format=gif"],
    "frames": [*INFER, "export_depth=true", "video_dump={}", "video_format=png"],
    "planes": [*INFER, "export_planes=true", "planes_dump={}"],
    "fit": [*FIT, "output={}"],
    "train": [*TRAIN, "saver.output_path={}"],
    "eval": ["eval.lrm", f"model_path={GOLDEN}", "data_root=assets/sample_object", "output_path={}"],
    "check": ["check.data", "--root", "assets/sample_object", "write_meta={}/clean.json", "sheet_objects=0"],
    "sheet": ["check.data", "--root", "assets/sample_object", "sheet={}/sheet.png"],
    "prepare": ["prepare.images", f"image_input={MUG}", "output={}"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_cannot_be_written(name, tmp_path, monkeypatch, capsys):
    idle(monkeypatch)
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / "results"
    assert main([word.format(place) for word in COMMANDS[name]]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and str(place) in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", [INFER, FIT], ids=["infer", "fit"])
def test_a_missing_ffmpeg(command, tmp_path, monkeypatch, capsys):
    idle(monkeypatch)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    output = "output" if command is FIT else "video_dump"
    assert main([*command, "export_video=true", f"{output}={tmp_path / 'out'}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"no ffmpeg to write .mp4 (No such file or directory): IMAGEIO_FFMPEG_EXE={tmp_path / 'nowhere'}" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train.optim.betas=[0.9]"], "train.optim.betas has 1 values, not 2"),
        (["train.optim.betas=[]"], "train.optim.betas has 0 values, not 2"),
        (["train.optim.betas=[0.9,1]"], "betas=[0.9, 1.0] are not below 1"),
        (["seed=99999999999999999999"], "seed=99999999999999999999 is not int from 0 to 4294967295"),
        (["seed=4294967296"], "seed=4294967296 is not int from 0"),
        (["train.optim.start_learning_rate=inf"], "train.optim.start_learning_rate=inf is not float"),
        (["train.optim.max_grad_norm=.inf"], "train.optim.max_grad_norm=inf is not float"),
        (["train.train_steps=99999999999999999999"], "train.train_steps=99999999999999999999 is not int"),
    ],
)
def test_numbers_that_no_library_takes(options, words, tmp_path, monkeypatch, capsys):
    idle(monkeypatch)
    assert main([*TRAIN, f"saver.output_path={tmp_path}", *options]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("size", "words"), [((32, 32), "views have sides of 32, 128 pixels"), ((48, 64), "the view is 48 x 64, not square")]
)
def test_views_of_two_sizes_cannot_be_fitted(size, words, tmp_path, monkeypatch, capsys):
    idle(monkeypatch)
    shutil.copytree("assets/sample_object/food_dinner", tmp_path / "set" / "cup")
    file = tmp_path / "set" / "cup" / "rgba" / "003.png"
    with Image.open(file) as picture:
        picture.resize(size).save(file)
    assert main(["fit.triplane", f"data_root={tmp_path / 'set'}", "uid=cup", f"output={tmp_path / 'out'}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert words in line and str(tmp_path / "set" / "cup") in line
