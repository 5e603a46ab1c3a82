"""A packed set is read as the folders it was made of."""

import json

import numpy as np
import pytest

from openlrm.datasets import DataConfig, SubsetConfig, TrainItems, list_uids, make_loader, object_views, read_object
from openlrm.datasets.index import compare_list
from openlrm.datasets.inspection import inspect_object
from openlrm.datasets.mindrecord import INDEX, open_pack, pack_objects
from openlrm.errors import UserError

UIDS = ["cup", "kitchen/it's a pan", "kitchen/Löffel", "mug"]


@pytest.fixture
def loose(write_set, tmp_path):
    root = write_set(tmp_path / "loose", UIDS)
    for kind, suffix in (("rgba", "png"), ("pose", "npy")):
        (root / "mug" / kind / f"000.{suffix}").rename(root / "mug" / kind / f"front.{suffix}")
    (root / "meta.json").write_text(json.dumps(UIDS[:3]))
    (root / "meta_val.json").write_text(json.dumps(UIDS[3:]))
    return root


@pytest.fixture
def pack(loose, tmp_path):
    assert pack_objects(loose, tmp_path / "new", objects_per_file=3) == sorted(UIDS)
    # Wherever it is copied to.
    (tmp_path / "new").rename(tmp_path / "pack")
    return open_pack(tmp_path / "pack")


def config(root, **options):
    sizes = {"source_image_res": 16, "render_image_low": 8, "render_image_high": 16, "render_region_size": 8}
    return DataConfig([SubsetConfig([root])], **sizes, **options)


def test_files(pack, tmp_path):
    names = {path.name for path in (tmp_path / "pack").iterdir()}
    parts = {f"objects-0000{number}.mindrecord{end}" for number in (0, 1) for end in ("", ".db")}
    assert names == parts | {INDEX, "meta.json", "meta_val.json"}


@pytest.mark.parametrize("uid", UIDS)
def test_objects_are_the_same(loose, pack, uid):
    one, two = read_object(loose, uid), read_object(pack, uid)
    assert two.names == one.names
    np.testing.assert_array_equal(two.intrinsics, one.intrinsics)
    for view in range(len(one)):
        np.testing.assert_array_equal(two.read_picture(view), one.read_picture(view))
        np.testing.assert_array_equal(two.read_pose(view), one.read_pose(view))
    np.testing.assert_array_equal(object_views(pack, uid, 16).rgba, object_views(loose, uid, 16).rgba)


def test_lists_and_inspection(loose, pack):
    assert list_uids(pack) == UIDS[:3]
    uids, problems = compare_list(pack)
    assert (uids, [problem.kind for problem in problems]) == (UIDS[:3], ["unlisted"])
    one, two = (inspect_object(root, "cup") for root in (loose, pack))
    assert (two.views, two.coverage, two.distances) == (one.views, one.coverage, one.distances)


def test_what_is_not_there(pack):
    with pytest.raises(UserError, match="no object 'cap'.*did you mean 'cup'"):
        read_object(pack, "cap")
    for inner in ("cup/rgba/999.png", "cup/depth/000.png", "nobody", "kitchen/rgba/000.png"):
        with pytest.raises(FileNotFoundError):
            (pack / inner).open()
    assert not (pack / "nobody").is_dir() and (pack / "kitchen").is_dir()
    assert not (pack / "kitch").is_dir()


def test_items_are_the_same(loose, pack):
    one, two = (TrainItems(config(root), seed=3) for root in (str(loose), pack))
    for index in range(4):
        for (name, array), (_, other) in zip(one.item(1, index).arrays(), two.item(1, index).arrays(), strict=True):
            np.testing.assert_array_equal(other, array, err_msg=name)


def test_items_of_a_pack_named_in_the_config(loose, pack, tmp_path):
    sizes = {"source_image_res": 16, "render_image_low": 8, "render_image_high": 16, "render_region_size": 8}
    named = DataConfig([SubsetConfig([str(tmp_path / "pack")], name="mindrecord")], **sizes)
    one, two = TrainItems(config(str(loose)), seed=3), TrainItems(named, seed=3)
    assert two.uids == one.uids
    for (name, array), (_, other) in zip(one.item(1, 0).arrays(), two.item(1, 0).arrays(), strict=True):
        np.testing.assert_array_equal(other, array, err_msg=name)
    with pytest.raises(UserError, match=INDEX):
        TrainItems(DataConfig([SubsetConfig([str(loose)], name="mindrecord")], **sizes), seed=3)


def test_worker_processes_read_it(loose, pack):
    batches = []
    for root in (str(loose), pack):
        loader = make_loader(TrainItems(config(root), seed=3), 1, 2, 0, 0, 2)
        batches.append([batch.images for _, _, batch in loader])
        loader.close()
    assert len(batches[0]) == 6
    np.testing.assert_array_equal(batches[1], batches[0])


def test_a_broken_object_leaves_no_pack(loose, tmp_path):
    picture = loose / "mug/rgba/003.png"
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(UserError, match=r"damaged.*003\.png"):
        pack_objects(loose, tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["loose"]


def test_a_pack_is_not_overwritten(loose, pack, tmp_path):
    with pytest.raises(UserError, match="there already"):
        pack_objects(loose, tmp_path / "pack")


def test_damage_is_named(pack, tmp_path):
    (tmp_path / "pack/objects-00000.mindrecord").unlink()
    with pytest.raises(UserError, match=r"MindRecord cannot read objects-00000\.mindrecord"):
        read_object(pack, "cup").read_picture(0)
    assert read_object(pack, "mug").read_picture(0).shape == (20, 20, 4)
    for text, message in (("{", "cannot read the index"), ('{"format": 9}', "format 9"), ("[]", "cannot read")):
        folder = tmp_path / f"other {len(text)}"
        folder.mkdir()
        (folder / INDEX).write_text(text)
        with pytest.raises(UserError, match=message):
            open_pack(folder)
    with pytest.raises(UserError, match=r"no pack\.json"):
        open_pack(tmp_path)
