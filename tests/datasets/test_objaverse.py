"""The reader against objects written here by hand, whole and broken in every way we know."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import surrounding_views
from openlrm.datasets import blend, list_uids, read_object
from openlrm.datasets.index import compare_list
from openlrm.errors import UserError
from openlrm.evaluation.objects import read_uid_file

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "renders"


@pytest.fixture
def root(tmp_path):
    """Two objects of three views; the second is nested and left alone by the tests that break things."""
    for seed, uid in enumerate(("mug", "group/chair")):
        folder = tmp_path / uid
        (folder / "rgba").mkdir(parents=True)
        (folder / "pose").mkdir()
        np.save(folder / "intrinsics.npy", np.array([[9.0, 6.0], [6.0, 4.0], [12.0, 8.0]]))
        pixels = np.random.default_rng(seed).integers(0, 256, (3, 8, 12, 4), np.uint8)
        for i, pose in enumerate(surrounding_views(3)):
            Image.fromarray(pixels[i], "RGBA").save(folder / "rgba" / f"{i:03d}.png")
            np.save(folder / "pose" / f"{i:03d}.npy", pose.astype(np.float64))
    (tmp_path / "meta.json").write_text(json.dumps(["mug", "group/chair"]))
    return tmp_path


def test_reads_what_was_written(root):
    assert list_uids(root) == ["mug", "group/chair"]
    for seed, uid in enumerate(list_uids(str(root))):
        item = read_object(root, uid)
        assert (len(item), item.uid, item.names) == (3, uid, ("000", "001", "002"))
        np.testing.assert_allclose(item.intrinsics, [0.75, 0.75, 0.5, 0.5])
        pixels = np.random.default_rng(seed).integers(0, 256, (3, 8, 12, 4), np.uint8)
        rgba, c2w = item.read_view(2)
        assert rgba.dtype == c2w.dtype == np.float32
        np.testing.assert_allclose(rgba, pixels[2] / 255, atol=1e-7)
        np.testing.assert_allclose(c2w, surrounding_views(3)[2], atol=1e-7)


def test_is_lazy(root):
    """Opening reads no picture and no pose, so that a sampler may open thousands of objects."""
    (root / "mug/rgba/001.png").write_bytes(b"")
    (root / "mug/pose/001.npy").write_bytes(b"")
    read_object(root, "mug").read_view(0)


def test_blend_by_hand():
    rgba = np.array([[[1, 0.5, 0, 0.25], [0.2, 0.4, 0.6, 1], [1, 1, 1, 0]]], np.float32)
    np.testing.assert_allclose(blend(rgba, 1.0), [[[1, 0.875, 0.75], [0.2, 0.4, 0.6], [1, 1, 1]]], atol=1e-7)
    np.testing.assert_allclose(blend(rgba, 0.5)[0, 0], [0.625, 0.5, 0.375], atol=1e-7)
    assert blend(np.stack([rgba] * 2), 0.0).shape == (2, 1, 3, 3)
    assert blend(rgba, 0.5).dtype == np.float32


@pytest.mark.parametrize(
    "uid", ["../mug", "..", "/etc", "group/../../x", "C:\\mug", "\\mug", "..\\mug", "", ".", "a\0b"]
)
def test_uids_stay_inside_the_root(root, uid):
    with pytest.raises(UserError, match="does not stay inside"):
        read_object(root, uid)
    (root / "meta.json").write_text(json.dumps(["mug", uid]))
    with pytest.raises(UserError, match=r"does not stay inside.*meta\.json"):
        list_uids(root)


def test_missing_root_and_missing_object(root):
    for call in (lambda: list_uids(root / "none"), lambda: read_object(root / "none", "mug")):
        with pytest.raises(UserError, match=r"no such folder of objects.*none"):
            call()
    with pytest.raises(UserError, match=r"no object 'mugs'.*did you mean 'mug'"):
        read_object(root, "mugs")
    with pytest.raises(UserError, match="no object 'zebra'"):
        read_object(root, "zebra")
    with pytest.raises(UserError, match=r"no view 3.*3 views, 0 to 2"):
        read_object(root, "mug").read_view(3)
    with pytest.raises(UserError, match="no view -1"):
        read_object(root, "mug").read_pose(-1)


def test_missing_meta_says_how_to_make_it(root):
    (root / "meta.json").unlink()
    with pytest.raises(UserError, match=r'no meta\.json.*\["chair", "mug"\]'):
        list_uids(root)


@pytest.mark.parametrize("text", ["", "{", '{"mug": 1}', "[]", "[1]", '"mug"', "[" * 100_000, '["a", null]'])
def test_meta_that_is_no_list_of_names(root, text):
    (root / "meta.json").write_text(text)
    with pytest.raises(UserError, match=r"meta\.json"):
        list_uids(root)


def test_no_views(root):
    for file in (root / "mug/rgba").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="no views"):
        read_object(root, "mug")
    (root / "mug/rgba").rmdir()
    with pytest.raises(UserError, match="no views"):
        read_object(root, "mug")


@pytest.mark.parametrize(
    ("gone", "counts"), [("pose/001.npy", "3 pictures but 2"), ("rgba/001.png", "2 pictures but 3")]
)
def test_unpaired_views(root, gone, counts):
    (root / "mug" / gone).unlink()
    with pytest.raises(UserError, match=f"{counts} poses, unpaired: 001"):
        read_object(root, "mug")


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,)}"
HUGE = b"\x93NUMPY\x01\x00" + len(HEADER).to_bytes(2, "little") + HEADER
GOOD = surrounding_views(3)[1].astype(float)


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.where(np.arange(4) == 3, np.nan, GOOD), "NaN"),
        (GOOD[:, :3], "shape"),
        (GOOD * 2, "not orthonormal"),
        (GOOD[:, [1, 0, 2, 3]], "mirrors"),
        (np.array([{"a": 1}], object), "not a usable"),
        (GOOD.astype(str), "real numbers"),
    ],
)
def test_bad_poses_are_named(root, pose, message):
    np.save(root / "mug/pose/001.npy", pose)
    with pytest.raises(UserError, match=rf"{message}.*001\.npy"):
        read_object(root, "mug").read_view(1)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"\x93NUMPY\x01\x00\x08\x00{'a': (}", b"\x93NUMPY"]
)
def test_files_that_are_no_arrays(root, content):
    (root / "mug/pose/001.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"not a usable \.npy file.*001\.npy"):
        read_object(root, "mug").read_view(1)


def test_truncated_array(root):
    file = root / "mug/pose/001.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"not a usable \.npy file"):
        read_object(root, "mug").read_view(1)


def test_bad_pictures_are_named(root):
    file = root / "mug/rgba/001.png"
    file.write_bytes(file.read_bytes()[:100])
    item = read_object(root, "mug")
    with pytest.raises(UserError, match=r"001\.png"):
        item.read_view(1)
    Image.new("RGB", (12, 8)).save(file)
    with pytest.raises(UserError, match=r"001\.png"):
        item.read_view(1)


@pytest.mark.parametrize(
    "record",
    [np.ones((2, 3)), np.ones(6), -np.ones((3, 2)), np.zeros((3, 2)), np.full((3, 2), np.inf), np.eye(3)],
)
def test_bad_intrinsics(root, record):
    np.save(root / "mug/intrinsics.npy", record)
    with pytest.raises(UserError, match=r"intrinsics.*intrinsics\.npy"):
        read_object(root, "mug")


def test_missing_intrinsics(root):
    (root / "mug/intrinsics.npy").unlink()
    with pytest.raises(UserError, match=r"no such file.*intrinsics\.npy"):
        read_object(root, "mug")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample renders are not beside this repository")
def test_sample_renders():
    uids = list_uids(SHARED)
    item = read_object(SHARED, uids[0])
    rgba, c2w = item.read_view(0)
    assert len(item) == 32
    assert rgba.shape == (256, 256, 4)
    assert 0.01 < rgba[..., 3].mean() < 0.9
    assert 1.9 <= np.linalg.norm(c2w[:, 3]) <= 2.6
    np.testing.assert_allclose(item.intrinsics, [0.75, 0.75, 0.5, 0.5])


def test_views_are_counted(root):
    """View 0 is 5.png, not 10.png; macOS's `._` files are no views, hidden folders no objects."""
    for kind, suffix in (("rgba", "png"), ("pose", "npy")):
        for name in ("5", "12", "100"):
            shutil.copy(root / "mug" / kind / f"000.{suffix}", root / "mug" / kind / f"{name}.{suffix}")
        for old in range(3):
            (root / "mug" / kind / f"00{old}.{suffix}").unlink()
    (root / "mug" / "rgba" / "._5.png").write_bytes(b"Mac OS X")
    shutil.copytree(root / "group" / "chair", root / ".trash")
    assert read_object(root, "mug").names == ("5", "12", "100")
    assert compare_list(root)[1] == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_with_a_byte_order_mark(root, encoding):
    (root / "meta.json").write_text('["mug", "group/chair"]\r\n', encoding=encoding)
    assert list_uids(root) == ["mug", "group/chair"]
    for text in ('["mug"]', "mug\r\n", "\ufeffmug\n\n"):
        (root / "list").write_text(text, encoding=encoding)
        assert read_uid_file(root / "list") == ["mug"]


@pytest.mark.parametrize("name", ["1", "001", "1e3", "null", "true", '"a"', "[x]"])
def test_a_name_in_a_list_is_text(tmp_path, name):
    (tmp_path / "list.txt").write_text(f"{name}\n")
    assert read_uid_file(tmp_path / "list.txt") == [name]
