"""Fixed views of objects."""

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import Camera, normalize_poses
from openlrm.datasets import DataConfig, SubsetConfig, ValidationItems, blend, object_views, read_object
from openlrm.errors import UserError
from openlrm.utils.images import resize_bicubic


@pytest.fixture
def root(tmp_path, write_set):
    return write_set(tmp_path / "set", ["axe", "box"])


def test_object_views(root):
    source = read_object(root, "box")
    pictures, poses = zip(*(source.read_view(view) for view in range(6)), strict=True)
    views = object_views(root, "box")
    normed = Camera(normalize_poses(poses), source.intrinsics)
    np.testing.assert_allclose(views.rgba, pictures, atol=1e-7)
    np.testing.assert_array_equal(views.cameras.c2w, normed.c2w)
    np.testing.assert_array_equal(views.cameras.intrinsics, normed.intrinsics)
    plain = object_views(str(root), "box", normalize=False)
    np.testing.assert_array_equal(plain.cameras.c2w, np.stack(poses))
    np.testing.assert_allclose(plain.turn, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(views.turn @ plain.cameras.rotations, views.cameras.rotations, atol=1e-6)


def test_views_on_a_background(root):
    views = object_views(root, "box").take([0, 3])
    assert len(views) == 2 and views.cameras.shape == (2,)
    pictures, alpha = views.on(0.5, 10)
    for view in range(2):
        whole = np.ascontiguousarray(blend(views.rgba[view], 0.5).transpose(2, 0, 1))
        np.testing.assert_allclose(pictures[view], np.clip(resize_bicubic(whole, 10), 0, 1), atol=2e-6)
        mask = np.clip(resize_bicubic(views.rgba[view, ..., 3], 10), 0, 1)
        np.testing.assert_allclose(alpha[view], mask, atol=2e-6)
    stored, _ = views.on(1.0)
    np.testing.assert_array_equal(stored, blend(views.rgba, 1.0).transpose(0, 3, 1, 2))


def test_validation_items(root):
    items = ValidationItems(DataConfig([SubsetConfig([str(root)])]), uids=["box"], views=3)
    assert (items.uids, len(items)) == (["box"], 1)
    chosen, every = items.views("box"), object_views(root, "box")
    np.testing.assert_array_equal(chosen.rgba, every.rgba[[0, 2, 4]])
    np.testing.assert_array_equal(chosen.cameras.c2w, every.cameras.c2w[[0, 2, 4]])
    everything = ValidationItems(DataConfig([SubsetConfig([str(root)])], normalize_camera=False)).views("axe")
    assert len(everything) == 6
    np.testing.assert_array_equal(everything.cameras.c2w[0], read_object(root, "axe").read_view(0)[1])


def test_what_is_refused(root):
    items = ValidationItems(DataConfig([SubsetConfig([str(root)])]), views=7)
    with pytest.raises(UserError, match=r"6 views, 7 are wanted.*axe"):
        items.views("axe")
    with pytest.raises(UserError, match="no object 'cat'"):
        items.views("cat")
    Image.new("RGBA", (8, 8)).save(root / "axe/rgba/003.png")
    with pytest.raises(UserError, match=r"sides of 8, 20 pixels.*axe"):
        object_views(root, "axe")
