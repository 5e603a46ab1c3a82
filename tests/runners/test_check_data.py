"""`check.data` through the command line, on copies of the sample object broken in every way we know."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlrm import launch

SAMPLE = Path(__file__).parents[2] / "assets" / "sample_object"
VIEWS = range(0, 32, 4)


@pytest.fixture
def root(tmp_path):
    """Three copies of the sample object with eight of its views each."""
    for uid in ("one", "two", "three"):
        for kind, suffix in (("rgba", "png"), ("pose", "npy")):
            (tmp_path / "set" / uid / kind).mkdir(parents=True)
            for view in VIEWS:
                shutil.copy(SAMPLE / f"food_dinner/{kind}/{view:03d}.{suffix}", tmp_path / "set" / uid / kind)
        shutil.copy(SAMPLE / "food_dinner/intrinsics.npy", tmp_path / "set" / uid)
    listed(tmp_path / "set", ["one", "two", "three"])
    return tmp_path / "set"


def listed(root, uids):
    (root / "meta.json").write_text(json.dumps(uids))


@pytest.fixture
def check(root, capsys):
    def run(*options):
        code = launch.main(["check.data", "--root", str(root), *options])
        printed = capsys.readouterr()
        return code, printed.out if code != 2 else printed.err

    return run


def problems(text):
    return [line for line in text.splitlines() if line.startswith("PROBLEM")]


def pictures(root, uid="two"):
    return sorted((root / uid / "rgba").iterdir())


def poses(root, uid="two"):
    return sorted((root / uid / "pose").iterdir())


def change_alpha(files, change):
    for file in files:
        pixels = np.array(Image.open(file))
        change(pixels)
        Image.fromarray(pixels, "RGBA").save(file)


def test_a_clean_set(check, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = check("write_meta=clean.json")
    assert (code, problems(text)) == (0, [])
    assert "objects inspected                3" in text
    assert "without a problem                3" in text
    assert "views                            8 (3 x)" in text
    assert json.loads((tmp_path / "clean.json").read_text()) == ["one", "two", "three"]
    sheet = np.asarray(Image.open(tmp_path / "outputs" / "check" / "set.png"))
    assert sheet.shape == (3 * 212 + 24, 6 * 196 + 4, 3)
    for colour in ((255, 0, 0), (0, 128, 0), (0, 0, 255)):
        assert (sheet == colour).all(axis=-1).sum() > 500


def test_the_sample_object_is_clean(tmp_path, capsys):
    assert launch.main(["check.data", "--root", str(SAMPLE), f"sheet={tmp_path / 'sheet.png'}"]) == 0
    assert not problems(capsys.readouterr().out)


def missing_view(root):
    pictures(root)[2].unlink()


def nan_pose(root):
    np.save(poses(root)[1], np.full((3, 4), np.nan))


def truncated(root):
    file = pictures(root)[3]
    file.write_bytes(file.read_bytes()[:300])


def no_alpha(root):
    for file in pictures(root)[:3]:
        Image.open(file).convert("RGB").save(file)


def oblong(root):
    Image.new("RGBA", (8, 9)).save(pictures(root)[0])


def scaled(root):
    np.save(poses(root)[0], np.load(poses(root)[0]) * 2)


def mirrored(root):
    np.save(poses(root)[0], np.load(poses(root)[0])[:, [1, 0, 2, 3]])


def blank(root):
    change_alpha(pictures(root)[:2], lambda pixels: pixels.__setitem__((..., 3), 0))


def opaque(root):
    change_alpha(pictures(root), lambda pixels: pixels.__setitem__((..., 3), 255))


def black(root):
    change_alpha(pictures(root), lambda pixels: pixels.__setitem__((..., slice(3)), 0))


def clipped(root):
    change_alpha(pictures(root)[:6], lambda pixels: pixels.__setitem__((slice(0, 3), ..., 3), 255))


def other_size(root):
    picture = Image.open(pictures(root)[4])
    picture.resize((64, 64)).save(pictures(root)[4])


def fewer(root):
    for file in (pictures(root)[-1], poses(root)[-1]):
        file.unlink()


def inside(root):
    pose = np.load(poses(root)[0])
    pose[:, 3] *= 0.2
    np.save(poses(root)[0], pose)


def opencv(root):
    for file in poses(root):
        np.save(file, np.load(file) * np.array([1, -1, -1, 1]))


def inverted(root):
    for file in poses(root):
        np.save(file, np.linalg.inv(np.vstack([np.load(file), [0, 0, 0, 1]]))[:3])


def shuffled(root):
    stored = [np.load(file) for file in poses(root)]
    for file, pose in zip(poses(root), stored[3:] + stored[:3], strict=True):
        np.save(file, pose)


def intrinsics(root):
    (root / "two" / "intrinsics.npy").unlink()


def duplicate(root):
    listed(root, ["one", "two", "three", "two"])


def missing(root):
    shutil.rmtree(root / "two")


@pytest.mark.parametrize(
    ("breakage", "parts"),
    [
        (missing_view, ["object: 7 pictures but 8 poses, unpaired: 008", "two"]),
        (nan_pose, ["pose: pose holds NaN", "two/pose/004.npy"]),
        (truncated, ["picture: the picture is damaged", "two/rgba/012.png"]),
        (no_alpha, ["picture: the picture has no alpha channel", "two/rgba/000.png", "(and 2 more like it)"]),
        (oblong, ["picture: the view is 8 x 9, not square", "two/rgba/000.png"]),
        (scaled, ["pose: rotation of the pose is not orthonormal", "two/pose/000.npy"]),
        (mirrored, ["pose: rotation of the pose mirrors", "two/pose/000.npy"]),
        (blank, ["blank: nothing to be seen in 2 of 8 views", "two/rgba (000, 004)"]),
        (opaque, ["opaque: no transparent background in 8 of 8 views", "two/rgba (000, 004, 008, 012, ...)"]),
        (black, ["black: the object is black in 8 of 8 views", "two/rgba"]),
        (clipped, ["clipped: the object is cut off at the border in 6 of 8 views", "two/rgba"]),
        (other_size, ["size: views have sides of 64, 128 pixels", "two"]),
        (fewer, ["count: 7 views, where 2 of 3 objects have 8", "two"]),
        (inside, ["camera: camera inside the cube", "two/rgba (000)"]),
        (opencv, ["axes: poses do not fit the silhouettes (agreement 0.00", "two/pose", "OpenCV axes (+Y down"]),
        (inverted, ["axes: poses do not fit the silhouettes", "two/pose", "world-to-camera: invert them"]),
        (shuffled, ["poses: poses do not fit the silhouettes", "two/pose", "Wrong axes or intrinsics"]),
        (intrinsics, ["object: no such file", "two/intrinsics.npy"]),
        (duplicate, ["duplicate: two is listed 2 times", "meta.json"]),
        (missing, ["missing: listed, but there is no folder", "two"]),
    ],
)
def test_each_problem_is_named_with_its_place(breakage, parts, check, root, tmp_path):
    breakage(root)
    code, text = check(f"write_meta={tmp_path / 'clean.json'}", f"sheet={tmp_path / 'sheet.png'}")
    lines = problems(text)
    assert code == 1
    assert any(all(part in line for part in parts) for line in lines), text
    assert not any(f"{root / uid}" in line for line in lines for uid in ("one", "three"))
    usable = ["one", "two", "three"] if breakage is duplicate else ["one", "three"]
    assert json.loads((tmp_path / "clean.json").read_text()) == usable
    assert (tmp_path / "sheet.png").is_file()


def test_what_is_harmless_is_noted(check, root):
    listed(root, ["one", "two"])
    change_alpha(pictures(root)[:1], lambda pixels: pixels.__setitem__((slice(0, 3), ..., 3), 255))
    code, text = check("sheet_objects=0")
    assert (code, problems(text)) == (0, [])
    assert f"note unlisted: not in meta.json: {root / 'three'}" in text
    assert "note clipped: the object is cut off at the border in 1 of 8 views" in text
    assert "wrote" not in text


def test_without_a_list_the_folders_count(check, root, tmp_path):
    (root / "meta.json").unlink()
    code, text = check(f"write_meta={tmp_path / 'new.json'}", "sheet_objects=0")
    assert code == 1
    assert ["no meta.json" in line for line in problems(text)] == [True]
    assert json.loads((tmp_path / "new.json").read_text()) == ["one", "three", "two"]


def test_another_list_and_a_limit(check, tmp_path):
    (tmp_path / "few.json").write_text('["two", "three"]')
    code, text = check(f"meta_path={tmp_path / 'few.json'}", "limit=1", "sheet_objects=0")
    assert code == 0
    assert "note" not in text
    assert "objects inspected                1" in text


def test_several_processes_find_the_same(check, root):
    nan_pose(root)
    black(root)
    one, two = check("sheet_objects=0"), check("sheet_objects=0", "num_workers=2")
    assert one == two
    assert len(problems(one[1])) == 2


def test_nested_objects(check, root):
    (root / "group").mkdir()
    for uid in ("one", "two"):
        (root / uid).rename(root / "group" / uid)
    listed(root, ["group/one", "three"])
    code, text = check("sheet_objects=0")
    assert code == 0
    assert f"note unlisted: not in meta.json: {root / 'group/two'}" in text
    assert "objects inspected                2" in text


def test_mistakes_of_the_user(check, root, tmp_path, capsys):
    assert launch.main(["check.data", "--root", str(tmp_path / "none")]) == 2
    assert "no such folder of objects" in capsys.readouterr().err
    assert check("sheet=sheet.txt", "limit=1")[0] == 2
    assert check("limit=0")[0] == 2
    (root / "meta.json").write_text("{")
    code, text = check()
    assert code == 2
    assert "meta.json" in text


def test_list_for_validation_is_known_and_kept_apart(root, check):
    listed(root, ["one", "two"])
    (root / "meta_val.json").write_text('["three"]')
    code, text = check("sheet_objects=0")
    assert (code, problems(text)) == (0, [])
    assert "unlisted" not in text
    (root / "meta_val.json").write_text('["three", "two"]')
    code, text = check("sheet_objects=0")
    assert code == 1
    assert problems(text) == [f"PROBLEM split: two is in meta_val.json too: {root / 'meta.json'}"]
