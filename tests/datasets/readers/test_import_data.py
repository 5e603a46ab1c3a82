"""`import.data` and `export.data` from the command line: what was written fits its cameras."""

import json

import numpy as np
import pytest

from openlrm import launch
from openlrm.datasets.inspection import inspect_object
from openlrm.datasets.objaverse import read_object
from openlrm.datasets.readers.table import reader_of
from openlrm.factory.importer import cropped

SIDE = 64
KINDS = ["transforms", "omniobject3d", "colmap_binary", "mvimgnet", "gobjaverse", "zero123", "instantmesh", "mindone"]


def run(*words, code=0):
    assert launch.main([*map(str, words)]) == code


def imported(write, name, tmp_path, *options):
    written = write(name, tmp_path / "in")
    run("import.data", f"input={written.root}", f"output={tmp_path / 'out'}", f"size={SIDE}", *options)
    (uid,) = json.loads((tmp_path / "out" / "meta.json").read_text())
    return written, read_object(tmp_path / "out", uid)


def fitted(cube, written, source):
    """The cuboid in the world of the imported object: the similarity that maps the cameras."""
    before, after = written.cameras, np.stack([source.read_pose(index) for index in range(len(source))])
    turn = after[0, :, :3] @ before.rotations[0].T
    old, new = before.centers.astype(np.float64), after[:, :, 3].astype(np.float64)
    scale = np.linalg.norm(new - new.mean(0)) / np.linalg.norm(old - old.mean(0))
    shift = new.mean(0) - scale * turn @ old.mean(0)
    np.testing.assert_allclose(after[:, :, :3], turn @ before.rotations, atol=1e-5)
    np.testing.assert_allclose(new, scale * old @ turn.T + shift, atol=1e-4)
    cube.corners = scale * cube.corners @ turn.T + shift
    return scale, turn


@pytest.mark.parametrize("name", [*KINDS, "co3d"])
def test_corners_land_on_the_silhouette(name, write, cube, tmp_path):
    from openlrm.cameras import Camera

    written, source = imported(write, name, tmp_path)
    assert len(source) == len(written.cameras)
    scale, turn = fitted(cube, written, source)
    assert np.abs(cube.corners).max() < 1
    assert (scale == pytest.approx(1, abs=1e-5)) == (name == "instantmesh")
    if name not in ("colmap_binary", "mvimgnet", "co3d"):
        np.testing.assert_allclose(turn, np.eye(3), atol=1e-5)
    extents = []
    for index in range(len(source)):
        rgba, pose = source.read_view(index)
        assert cube.misfit(rgba[..., 3], Camera(pose, source.intrinsics)) < 0.5
        rows, columns = np.nonzero(rgba[..., 3] > 0.5)
        extents.append(max(*(np.abs(at + 0.5 - SIDE / 2).max() for at in (rows, columns))))
    assert 0.85 * SIDE / 2 < max(extents) < SIDE / 2, "in some view the object fills the picture"
    report = inspect_object(tmp_path / "out", source.uid)
    assert report.usable and report.agreement > 0.95


def test_crops_follow_the_intrinsics(cube):
    """A crop that cuts and one that pads, of a picture off its centre."""
    from openlrm.cameras import Camera, look_at

    taken = Camera(look_at([2.0, -1.5, 0.8]), (1.3, 1.8, 0.42, 0.61))
    rgba = cube.picture(taken, 90, 70).astype(np.float32) / 255
    for half in (0.27, 0.5, 0.9):
        picture = cropped(rgba, taken.intrinsics, half, 50)
        assert picture.shape == (50, 50, 4)
        assert cube.misfit(picture[..., 3], Camera(taken.c2w, (0.5 / half, 0.5 / half, 0.5, 0.5))) < 0.5


def test_it_goes_on(write, tmp_path, capsys):
    written, _ = imported(write, "zero123", tmp_path)
    record = tmp_path / "out" / written.folder.name / "import.json"
    before = record.stat().st_mtime_ns
    write("gobjaverse", tmp_path / "more")
    run("import.data", f"input={tmp_path / 'more'}", f"output={tmp_path / 'out'}", f"size={SIDE}")
    run("import.data", f"input={written.root}", f"output={tmp_path / 'out'}", f"size={SIDE}")
    assert json.loads((tmp_path / "out" / "meta.json").read_text()) == [written.folder.name, "0/10010"]
    assert record.stat().st_mtime_ns == before


def test_wrong_axes_are_told_and_put_right(write, cube, tmp_path, capsys):
    """Poses in OpenCV's axes where the format has OpenGL's."""
    written = write("instantmesh", tmp_path / "in")
    np.savez(written.folder / "cameras.npz", cam_poses=written.cameras.w2c(opencv=True)[:, :3])
    options = [f"input={written.root}", f"size={SIDE}"]
    run("import.data", *options, f"output={tmp_path / 'wrong'}")
    said = capsys.readouterr().err
    assert "OpenCV axes" in said and "flip_axes=true" in said
    run("import.data", *options, f"output={tmp_path / 'right'}", "flip_axes=true")
    assert "flip_axes" not in capsys.readouterr().err
    assert inspect_object(tmp_path / "right", "cup").usable


def test_failures(write, tmp_path, capsys):
    written = write("zero123", tmp_path / "in")
    write("gobjaverse", tmp_path / "in")  # not of the kind found first: passed over
    other = tmp_path / "in" / "zz"
    other.mkdir()
    for file in written.folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "003.npy").unlink()
    run("import.data", "kind=zero123", f"input={written.root}", f"output={tmp_path / 'out'}", f"size={SIDE}", code=2)
    said = capsys.readouterr().err
    assert "zz: no camera for 003.png" in said and "1 of 2 objects failed" in said.splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [written.folder.name, "meta.json"]
    assert json.loads((tmp_path / "out" / "meta.json").read_text()) == [written.folder.name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["kind=colmpa"], "did you mean colmap"),
        (["output={in}/out"], "the output lies in the input"),
        (["input={in}/nowhere"], "no such folder"),
        (["kind=co3d"], "no object of co3d"),
    ],
)
def test_bad_options(options, said, write, tmp_path, capsys):
    written = write("zero123", tmp_path / "in")
    usual = {"input": written.root, "output": tmp_path / "out"}
    usual |= dict(option.format_map({"in": written.root}).split("=") for option in options)
    run("import.data", *(f"{key}={value}" for key, value in usual.items()), code=2)
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_opaque_pictures_without_masks(write, tmp_path, capsys):
    import shutil

    written = write("colmap", tmp_path / "in")
    shutil.rmtree(written.folder / "masks")
    options = [f"input={written.root}", f"output={tmp_path / 'out'}", f"size={SIDE}"]
    run("import.data", *options, code=2)
    assert "is opaque and has no mask" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    run("import.data", *options, "background=plain")
    assert inspect_object(tmp_path / "out", "cup").agreement > 0.95


@pytest.mark.parametrize("form", ["transforms", "colmap"])
@pytest.mark.parametrize("name", ["transforms", "gobjaverse"])
def test_export_comes_back(form, name, write, cube, tmp_path):
    written = write(name, tmp_path / "in")
    run("export.data", f"input={written.folder}", f"output={tmp_path / 'out'}", f"form={form}")
    back = reader_of(tmp_path / "out")(tmp_path / "out")
    np.testing.assert_allclose(back.cameras.c2w, written.cameras.c2w, atol=1e-5)
    np.testing.assert_allclose(back.cameras.intrinsics, written.cameras.intrinsics, atol=1e-6)
    for view, camera in zip(back.views, back.cameras, strict=True):
        assert cube.misfit(view.read()[..., 3], camera) < 0.5


def test_export_of_nothing(tmp_path, capsys):
    run("export.data", f"input={tmp_path}", f"output={tmp_path / 'out'}", code=2)
    assert "nothing here tells the cameras" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    sample = launch.__file__.replace("openlrm/launch.py", "assets/sample_object/food_dinner")
    run("export.data", f"input={sample}", f"output={tmp_path / 'full'}", code=2)
    assert "other files (mine.txt)" in capsys.readouterr().err and (tmp_path / "full" / "mine.txt").is_file()
