"""`prepare.images` from the command line to the files."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlrm import launch
from openlrm.preprocess import BORDER_RATIO
from openlrm.runners.prepare.images import PrepareImagesConfig

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("openlrm.preprocess.picture.missing_for_rembg", lambda: "not here")
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    pixels = np.full((60, 90, 3), (230, 235, 240), np.uint8)
    pixels[10:30, 40:80] = (160, 40, 30)
    Image.fromarray(pixels).save(folder / "box.jpg", quality=95)
    cut = np.zeros((50, 50, 4), np.uint8)
    cut[5:25, 5:15] = (20, 40, 200, 255)
    Image.fromarray(cut).save(folder / "more" / "box.png")
    return folder


def test_folder(photos, tmp_path, capsys):
    arguments = ["prepare.images", f"image_input={photos}", f"output={tmp_path / 'out'}", "size=64"]
    assert launch.main(arguments) == 0
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["box.png", "more_box.png"]
    for path, across in zip(written, (True, False), strict=True):
        alpha = np.asarray(Image.open(path))[..., 3] > 128
        extent = alpha.any(axis=0).sum(), alpha.any(axis=1).sum()
        assert alpha.shape == (64, 64)
        assert abs(max(extent) - 64 * (1 - 2 * BORDER_RATIO)) <= 2
        assert (extent[0] > extent[1]) == across
    told = capsys.readouterr().err
    assert "box.png (background: plain)" in told and "more_box.png (background: transparent)" in told

    before = written[1].stat().st_mtime_ns
    written[0].unlink()
    assert launch.main([*arguments, "skip_existing=true"]) == 0
    assert written[0].is_file() and written[1].stat().st_mtime_ns == before
    assert "already done" in capsys.readouterr().err


def test_one_bad_picture_does_not_stop_the_others(photos, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.png")
    assert launch.main(["prepare.images", f"image_input={photos}", f"output={tmp_path / 'out'}"]) == 2
    assert len(list((tmp_path / "out").iterdir())) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any("not plain" in line and "a.png" in line for line in lines)
    assert lines[-1].startswith("error: 1 of 3 pictures failed")


def test_thin_pictures_and_other_kinds(photos, tmp_path, capsys):
    """A million pixels in a row are a small picture; kinds that are not read are named."""
    strip = np.full((2, 200_000, 3), 230, np.uint8)
    strip[:, 90_000:110_000] = (160, 40, 30)
    strip[0], strip[1] = strip[1].copy(), strip[0].copy()
    Image.fromarray(np.pad(strip, ((3, 3), (0, 0), (0, 0)), constant_values=230)).save(photos / "strip.png")
    Image.open(photos / "box.jpg").save(photos / "other.jfif", format="JPEG")
    Image.open(photos / "box.jpg").save(photos / "other.bmp")
    (photos / "phone.heic").write_bytes(b"ftypheic")
    assert launch.main(["prepare.images", f"image_input={photos}", f"output={tmp_path / 'out'}", "size=64"]) in (0, 2)
    told = capsys.readouterr().err
    assert "passed over: phone.heic" in told and "Traceback" not in told
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"box.png", "more_box.png", "other_bmp.png", "other_jfif.png"} <= written


def test_pictures_are_never_replaced_by_their_results(photos, capsys):
    source = photos / "more" / "box.png"
    before = source.read_bytes()
    assert launch.main(["prepare.images", f"image_input={source}", f"output={source.parent}"]) == 2
    assert "would replace the picture" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_results_inside_the_input(photos, capsys):
    """They are no input of the next run, and cannot stand among it."""
    for _ in range(2):
        assert launch.main(["prepare.images", f"image_input={photos}", f"output={photos / 'out'}", "size=64"]) == 0
        assert {path.name for path in (photos / "out").iterdir()} == {"box.png", "more_box.png"}
    before = sorted(photos.rglob("*"))
    assert launch.main(["prepare.images", f"image_input={photos}", f"output={photos}"]) == 2
    assert "choose another output" in capsys.readouterr().err
    assert sorted(photos.rglob("*")) == before


def test_as_the_documentation_has_it(tmp_path, monkeypatch):
    (command,) = re.findall(r"```bash\n(.*)\n```", (REPO / "docs" / "preprocessing.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(REPO / "assets")
    assert launch.main(shlex.split(command)[3:]) == 0
    pictures = {path.name for path in (REPO / "assets" / "sample_input").glob("*.png")}
    assert {path.name for path in (tmp_path / "outputs" / "pictures").iterdir()} == pictures


def test_margin_of_the_command_is_that_of_the_library():
    assert PrepareImagesConfig(image_input="x").border_ratio == BORDER_RATIO
