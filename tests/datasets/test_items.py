"""Training items against the spec, computed here the long way; and sets broken in every way we know."""

import errno
import json
import logging
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import look_at
from openlrm.cameras.conventions import to_homogeneous
from openlrm.datasets import DataConfig, SubsetConfig, TrainItems, blend, read_object
from openlrm.datasets.mixture import Mixture
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.errors import UserError
from openlrm.utils.images import load_rgba, resize_bicubic


def config(*roots, **options):
    sizes = dict(source_image_res=18, render_image_low=10, render_image_high=16, render_region_size=8)
    subsets = [SubsetConfig([str(root)]) for root in roots]
    return DataConfig(subsets, **{**sizes, "sample_side_views": 2, **options})


@pytest.fixture
def root(tmp_path, write_set):
    return write_set(tmp_path / "set", ["axe", "box", "cup", "dog"])


def test_an_item_is_what_the_spec_says(root):
    items = TrainItems(config(root, normalize_camera=False), seed=1)
    resolutions, backgrounds, corners, sources = set(), set(), set(), set()
    for index in range(40):
        item = items.item(2, index)
        arrays = dict(item.arrays())
        assert {name: array.shape for name, array in arrays.items()} == {
            "source_images": (1, 3, 18, 18),
            "source_cameras.c2w": (1, 3, 4),
            "source_cameras.intrinsics": (1, 4),
            "images": (3, 3, 8, 8),
            "masks": (3, 1, 8, 8),
            "cameras.c2w": (3, 3, 4),
            "cameras.intrinsics": (3, 4),
            "anchors": (3, 2),
            "sizes": (3,),
            "backgrounds": (3,),
        }
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
        # Without normalisation the pose tells which view of which object it is.
        poses = {
            tuple(np.load(file).astype(np.float32).ravel()): file.parents[1] / "rgba" / f"{file.stem}.png"
            for file in root.glob("*/pose/*.npy")
        }
        files = [poses[tuple(camera.c2w.ravel())] for camera in item.cameras]
        assert len(set(files)) == 3
        assert len({file.parents[1] for file in files}) == 1
        resolution = int(item.sizes[0])
        for view, file in enumerate(files):
            top, left = item.anchors[view].astype(int)
            rgba = load_rgba(file)
            whole = resize_bicubic(
                np.ascontiguousarray(blend(rgba, item.backgrounds[view]).transpose(2, 0, 1)), resolution
            )
            crop = np.clip(whole, 0, 1)[:, top : top + 8, left : left + 8]
            np.testing.assert_allclose(item.images[view], crop, atol=2e-6)
            mask = np.clip(resize_bicubic(rgba[..., 3], resolution), 0, 1)[top : top + 8, left : left + 8]
            np.testing.assert_allclose(item.masks[view, 0], mask, atol=2e-6)
            np.testing.assert_allclose(item.cameras[view].intrinsics, [0.8, 0.7, 0.5, 0.45], atol=1e-7)
            corners.add((resolution - 8 - top, resolution - 8 - left))
        source = np.ascontiguousarray(blend(load_rgba(files[0]), 1.0).transpose(2, 0, 1))
        np.testing.assert_allclose(item.source_images[0], np.clip(resize_bicubic(source, 18), 0, 1), atol=2e-6)
        np.testing.assert_array_equal(item.source_cameras.c2w, item.cameras[:1].c2w)
        np.testing.assert_array_equal(item.source_cameras.intrinsics, item.cameras[:1].intrinsics)
        assert (item.sizes == resolution).all()
        resolutions.add(resolution)
        backgrounds |= set(item.backgrounds.tolist())
        sources.add(files[0].stem)
    # 40 items reach every value, the ends included: chance of a miss below 1e-3 for each, and the seed is fixed.
    assert resolutions == set(range(10, 17))
    assert backgrounds == {0.0, 0.5, 1.0}
    assert min(map(min, corners)) == 0
    assert sources == {f"{i:03d}" for i in range(6)}


@pytest.mark.parametrize("distance", ["auto", 2.0])
def test_cameras_are_normalised_to_the_source(root, distance):
    plain = TrainItems(config(root, normalize_camera=False), seed=4).item(0, 0).cameras
    normed = TrainItems(config(root, normed_dist_to_center=distance), seed=4).item(0, 0).cameras
    plain, normed = (to_homogeneous(cameras.c2w) for cameras in (plain, normed))
    expected = np.linalg.norm(plain[0, :3, 3]) if distance == "auto" else 2.0
    np.testing.assert_allclose(normed[0, :3], [[1, 0, 0, 0], [0, 0, -1, -expected], [0, 1, 0, 0]], atol=1e-6)
    # What one camera sees of another does not depend on the world they stand in.
    relative = [np.linalg.inv(poses[0]) @ poses for poses in (plain, normed)]
    np.testing.assert_allclose(relative[0], relative[1], atol=1e-5)


def test_normalised_poses_equal_the_golden_ones(golden, tmp_path, write_set):
    from openlrm.datasets import object_views

    poses, expected = golden["pose_in"], golden["pose_norm_auto"]
    write_set(tmp_path, ["thing"], views=len(poses))
    for index, pose in enumerate(poses):
        np.save(tmp_path / "thing" / "pose" / f"{index:03d}.npy", pose[:3])
    np.testing.assert_allclose(object_views(tmp_path, "thing").cameras.c2w, expected[:, :3], atol=1e-5)
    views = object_views(tmp_path, "thing", distance=2)
    np.testing.assert_allclose(views.cameras.c2w, golden["pose_norm_2"][:, :3], atol=1e-5)


def same(first, second):
    first, second = dict(first.arrays()), dict(second.arrays())
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_items_depend_on_seed_epoch_and_index_alone(root):
    def fresh(seed=7, **options):
        return TrainItems(config(root, **options), seed)

    walked = fresh()
    history = {(epoch, index): walked.item(epoch, index) for epoch in range(3) for index in range(6)}
    for (epoch, index), item in history.items():
        assert same(item, fresh(cache_mib=0).item(epoch, index))
    digests = {item.images.tobytes() for item in history.values()}
    assert len(digests) == len(history)
    assert not same(fresh(8).item(0, 0), history[0, 0])


def test_every_epoch_has_every_object_once_in_its_own_order(root):
    items = TrainItems(config(root), 0)
    orders = [items._order(epoch).tolist() for epoch in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(map(tuple, orders))) > 2
    assert items.uids == ["axe", "box", "cup", "dog"]


def test_sample_rates_mix_subsets(tmp_path, write_set):
    one, two = write_set(tmp_path / "one", "abcdefghij"), write_set(tmp_path / "two", ["u", "v", "w", "x"])
    subsets = [SubsetConfig([str(one)], sample_rate=0.3), SubsetConfig([str(two)], sample_rate=1.5)]
    items = TrainItems(DataConfig(subsets), 0)
    assert len(items) == 3 + 6
    chosen = set()
    for epoch in range(12):
        counts = np.bincount(items._order(epoch), minlength=14)
        assert counts[:10].sum() == 3
        assert counts[:10].max() == 1
        assert counts[10:].sum() == 6
        assert set(counts[10:]) <= {1, 2}
        chosen |= set(np.flatnonzero(counts).tolist())
    assert chosen == set(range(14))


def test_several_roots_and_other_lists(tmp_path, write_set):
    first, second = write_set(tmp_path / "a", ["axe"]), write_set(tmp_path / "b", ["axe", "box"], views=3)
    (tmp_path / "list.json").write_text(json.dumps(["axe", "box"]))
    subset = SubsetConfig([str(first), str(second)], meta_path=str(tmp_path / "list.json"))
    items = TrainItems(DataConfig([subset], sample_side_views=2), 0)
    assert items.uids == ["axe", "box"]
    assert items._object(0).folder == first / "axe"
    assert items._object(1).folder == second / "box"


def test_some_objects_alone(root):
    items = TrainItems(config(root), 0, uids=["dog", "axe"])
    assert items.uids == ["axe", "dog"]
    assert len(items) == 2
    with pytest.raises(UserError, match="no object 'boxx'.*did you mean box"):
        TrainItems(config(root), 0, uids=["boxx", "axe"])
    with pytest.raises(UserError, match="no objects left"):
        TrainItems(config(root), 0, uids=[])


def test_held_out_views_are_never_drawn(root):
    poses = {tuple(np.load(file).ravel()): file.stem for file in root.glob("*/pose/*.npy")}
    items = TrainItems(config(root, held_out_views=[0, 4], normalize_camera=False), 0)
    seen = {poses[tuple(c2w.ravel())] for index in range(30) for c2w in items.item(0, index).cameras.c2w}
    assert seen == {"001", "002", "003", "005"}


def drawn_views(root, count=60, **options):
    """Views of each item, the source first."""
    poses = {tuple(np.load(file).ravel()): int(file.stem) for file in root.glob("*/pose/*.npy")}
    items = TrainItems(config(root, normalize_camera=False, **options), 5)
    cameras = (items.item(3, index).cameras for index in range(count))
    return [[poses[tuple(c2w.ravel())] for c2w in views.c2w] for views in cameras]


def test_the_source_is_drawn_from_the_source_views(root):
    views = drawn_views(root, source_views=[1, 4], held_out_views=[2])
    assert {source for source, *_ in views} == {1, 4}
    # The other source view is drawn beside it like any view, the one chosen is not drawn again.
    assert {view for source, *others in views if source == 1 for view in others} == {0, 3, 4, 5}
    assert {view for source, *others in views if source == 4 for view in others} == {0, 1, 3, 5}
    assert all(len(set(item)) == 3 for item in views)
    assert {source for source, *_ in drawn_views(root, source_views=[0])} == {0}


def test_without_source_views_the_draws_are_those_of_all_earlier_runs(root):
    expected = [np.random.default_rng([5, 3, 1 + i]).choice(6, 3, replace=False).tolist() for i in range(10)]
    assert drawn_views(root, 10) == expected
    kept = np.array([0, 2, 3, 5])
    expected = [np.random.default_rng([5, 3, 1 + i]).choice(kept, 3, replace=False).tolist() for i in range(10)]
    assert drawn_views(root, 10, held_out_views=[1, 4]) == expected


def test_source_views_that_cannot_be(root):
    with pytest.raises(UserError, match="view 4 is in source_views and in held_out_views"):
        config(root, source_views=[0, 4], held_out_views=[4, 5])
    items = TrainItems(config(root, source_views=[0, 6]), 0)
    with pytest.raises(UserError, match="4 of 4 objects are broken.*no view 6 of source_views.*views 0 to 5"):
        items.item(0, 0)


def nan_pose(folder):
    np.save(folder / "pose" / "002.npy", np.full((3, 4), np.nan))


def truncated_picture(folder):
    file = folder / "rgba" / "002.png"
    file.write_bytes(file.read_bytes()[:200])


def no_alpha(folder):
    Image.new("RGB", (20, 20)).save(folder / "rgba" / "002.png")


def oblong(folder):
    Image.new("RGBA", (20, 21)).save(folder / "rgba" / "002.png")


def too_few(folder):
    for kind, suffix in (("rgba", "png"), ("pose", "npy")):
        for view in range(2, 6):
            (folder / kind / f"{view:03d}.{suffix}").unlink()


def at_origin(folder):
    for file in (folder / "pose").iterdir():
        np.save(file, np.eye(4)[:3])


BREAKAGES = {
    "gone": (shutil.rmtree, "no object 'box' in any folder"),
    "missing view": (lambda folder: (folder / "rgba" / "002.png").unlink(), r"5 pictures but 6 poses.*box"),
    "missing pose": (lambda folder: (folder / "pose" / "002.npy").unlink(), r"6 pictures but 5 poses.*box"),
    "nan": (nan_pose, r"NaN.*box.pose.002\.npy"),
    "truncated": (truncated_picture, r"damaged.*box.rgba.002\.png"),
    "no alpha": (no_alpha, r"no alpha channel.*box.rgba.002\.png"),
    "oblong": (oblong, r"20 x 21, not square.*box.rgba.002\.png"),
    "count": (too_few, "2 views to draw from, 3 are needed.*box"),
    "intrinsics": (lambda folder: (folder / "intrinsics.npy").write_bytes(b"x"), r"box.intrinsics\.npy"),
    "origin": (at_origin, "stands at the origin"),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_broken_objects_are_named_and_passed_over(root, kind, caplog, monkeypatch):
    breakage, message = BREAKAGES[kind]
    breakage(root / "box")
    monkeypatch.setattr(logging.getLogger("openlrm"), "propagate", True)
    items = TrainItems(config(root, normalize_camera=kind == "origin"), 3)
    drawn = [items.item(epoch, index) for epoch in range(4) for index in range(4)]
    assert len(caplog.messages) == 1
    assert list(items.broken) == [1]
    assert re.search(message, caplog.messages[0])
    again = TrainItems(config(root, normalize_camera=kind == "origin"), 3)
    assert same(again.item(3, 3), drawn[-1])
    strict = TrainItems(config(root, max_broken=0, normalize_camera=kind == "origin"), 3)
    with pytest.raises(UserError, match=r"1 of 4 objects are broken.*check\.data"):
        [strict.item(epoch, index) for epoch in range(4) for index in range(4)]


def failing(monkeypatch, where, times, error):
    """Let a function fail the first `times` times that it is called for the object "box"."""
    owner, name = where
    real, left = getattr(owner, name), [times]

    def fail(self, *arguments):
        about = self.uid if isinstance(self, ObjaverseObject) else self.uids[arguments[0]]
        if about == "box" and left[0]:
            left[0] -= 1
            raise error
        return real(self, *arguments)

    monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr("openlrm.datasets.items.WAITS", (0, 0))


def told(cause):
    error = UserError("cannot read the file")
    error.__cause__ = cause
    return error


HICCUPS = [OSError(errno.EIO, "Input/output error"), ConnectionResetError(), TimeoutError(), OSError("no route")]
READS = [(ObjaverseObject, "read_planes"), (ObjaverseObject, "read_pose"), (Mixture, "read")]


@pytest.mark.parametrize("error", [*HICCUPS, told(HICCUPS[0])], ids=repr)
@pytest.mark.parametrize("where", READS, ids=lambda where: where[1])
def test_a_hiccup_leaves_the_draws_of_a_run_unchanged(root, monkeypatch, where, error):
    told = []
    monkeypatch.setattr("openlrm.datasets.items.logger.warning", lambda words, *rest: told.append(words % rest))
    expected = [TrainItems(config(root), 3).item(epoch, index) for epoch in range(2) for index in range(4)]
    failing(monkeypatch, where, 2, error)
    items = TrainItems(config(root, max_broken=0), 3)
    assert all(same(items.item(n // 4, n % 4), item) for n, item in enumerate(expected))
    assert items.broken == {}
    assert [message.split(":")[0] for message in told] == ["box had to be read again"]


def test_what_stays_unreadable_is_counted_and_read_when_it_is_back(root, monkeypatch):
    expected = [TrainItems(config(root), 3).item(0, index) for index in range(40)]
    failing(monkeypatch, READS[0], 3, OSError(errno.EIO, "Input/output error"))
    items = TrainItems(config(root), 3)
    drawn = [items.item(0, index) for index in range(40)]
    assert list(items.broken) == [1]
    assert sum(not same(one, other) for one, other in zip(drawn, expected, strict=True)) == 1


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), PermissionError(), told(None), told(FileNotFoundError())], ids=repr
)
def test_what_will_not_pass_is_not_waited_for(root, monkeypatch, error):
    failing(monkeypatch, READS[0], 1, error)
    monkeypatch.setattr("openlrm.datasets.items.time.sleep", lambda _: pytest.fail("it waited"))
    items = TrainItems(config(root), 3)
    [items.item(0, index) for index in range(8)]
    assert list(items.broken) == [1]


def test_the_limit_counts_objects_not_occurrences(root):
    for uid in ("axe", "cup"):
        shutil.rmtree(root / uid)
    items = TrainItems(config(root, max_broken=2), 0)
    for index in range(40):
        items.item(0, index)
    assert sorted(items.broken) == [0, 2]
    shutil.rmtree(root / "dog")
    items = TrainItems(config(root, max_broken=2), 0)
    with pytest.raises(UserError, match="3 of 4 objects are broken"):
        [items.item(0, index) for index in range(40)]


def test_nothing_usable_ends(root):
    for uid in ("axe", "box", "cup", "dog"):
        shutil.rmtree(root / uid)
    with pytest.raises(UserError, match="4 of 4 objects are broken, the last: no object"):
        TrainItems(config(root), 0).item(0, 0)


def test_lists_that_cannot_be_read(tmp_path, root):
    with pytest.raises(UserError, match=r"no such folder of objects.*none"):
        TrainItems(config(tmp_path / "none"), 0)
    (root / "meta.json").unlink()
    with pytest.raises(UserError, match=r"no meta\.json"):
        TrainItems(config(root), 0)
    with pytest.raises(UserError, match=r"no list\.json"):
        TrainItems(DataConfig([SubsetConfig([str(root)], meta_path=str(root / "list.json"))]), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(render_region_size=11), "do not ascend"),
        (dict(render_image_low=17), "do not ascend"),
        (dict(normed_dist_to_center="near"), "neither auto nor"),
        (dict(normed_dist_to_center=-1.0), "neither auto nor"),
        (dict(backgrounds=[]), "no background"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(UserError, match=message):
        config("anywhere", **options)
    with pytest.raises(UserError, match="no data"):
        config()


def test_objects_behind_an_address(root, write_set):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/bucket/set", recursive=True)
    try:
        remote, local = TrainItems(config("memory://bucket/set"), 5), TrainItems(config(root), 5)
        assert remote.uids == local.uids
        for index in range(6):
            assert same(remote.item(0, index), local.item(0, index))
        pose = look_at([0.0, -2.0, 0.0]) * np.nan
        with memory.open("/bucket/set/axe/pose/001.npy", "wb") as stream:
            np.save(stream, pose)
        with pytest.raises(UserError, match=r"NaN.*memory://bucket/set/axe/pose/001\.npy"):
            read_object("memory://bucket/set", "axe").read_pose(1)
        memory.rm("/bucket/set/axe/rgba/001.png")
        with pytest.raises(UserError, match="5 pictures but 6 poses"):
            read_object("memory://bucket/set", "axe")
        with pytest.raises(UserError, match="no such folder of objects: memory://bucket/none"):
            TrainItems(config("memory://bucket/none"), 5)
    finally:
        memory.rm("/bucket", recursive=True)


def test_addresses_that_nothing_can_open(monkeypatch):
    with pytest.raises(UserError, match=r"cannot use the address.*nowhere://x"):
        TrainItems(config("nowhere://x"), 0)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UserError, match=r"s3:// needs a package.*openlrm-mindspore\[data\]"):
        TrainItems(config("s3://bucket/set"), 0)
