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


def resized(rgba, size):
    image = np.ascontiguousarray(blend(rgba, 1.0).transpose(2, 0, 1))
    return np.clip(resize_bicubic(image, size), 0, 1)


def test_object_views(root):
    source = read_object(root, "box")
    pictures, poses = zip(*(source.read_view(view) for view in range(6)), strict=True)
    views = object_views(root, "box", 14)
    normed = normalize_poses(poses)
    np.testing.assert_allclose(views.source_image, resized(pictures[0], 14), atol=2e-6)
    np.testing.assert_allclose(views.rgba, pictures, atol=1e-7)
    np.testing.assert_array_equal(views.source_camera, Camera(normed[0], source.intrinsics).source_record())
    np.testing.assert_array_equal(views.render_cameras, Camera(normed, source.intrinsics).render_record())
    plain = object_views(str(root), "box", 14, normalize=False)
    np.testing.assert_array_equal(plain.render_cameras, Camera(poses, source.intrinsics).render_record())


def test_validation_items(root):
    config = DataConfig([SubsetConfig([str(root)])], source_image_res=16)
    items = ValidationItems(config, uids=["box"], render_size=10, views=3)
    assert (items.uids, len(items)) == (["box"], 1)
    item, views = items.view_item("box"), object_views(root, "box", 16)
    assert {array.dtype for array in item.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(item["render_camera"], views.render_cameras[[0, 2, 4]])
    np.testing.assert_array_equal(item["source_image"], views.source_image)
    np.testing.assert_array_equal(item["source_camera"], views.source_camera)
    for row, view in enumerate((0, 2, 4)):
        np.testing.assert_allclose(item["render_image"][row], resized(views.rgba[view], 10), atol=2e-6)
        mask = np.clip(resize_bicubic(views.rgba[view, ..., 3], 10), 0, 1)
        np.testing.assert_allclose(item["render_mask"][row, 0], mask, atol=2e-6)
    assert (item["render_anchors"].shape, item["render_anchors"].any()) == ((3, 2), False)
    assert item["render_full_resolutions"].tolist() == [[10.0]] * 3
    assert item["render_bg_colors"].tolist() == [[1.0]] * 3


def test_stored_size_and_all_views(root):
    config = DataConfig([SubsetConfig([str(root)])], source_image_res=16, normalize_camera=False)
    item = ValidationItems(config).view_item("axe")
    assert item["render_image"].shape == (6, 3, 20, 20)
    first = read_object(root, "axe").read_view(0)
    np.testing.assert_allclose(item["render_image"][0], resized(first[0], 20), atol=2e-6)
    np.testing.assert_array_equal(item["render_camera"][0, :12].reshape(3, 4), first[1])


def test_what_is_refused(root):
    items = ValidationItems(DataConfig([SubsetConfig([str(root)])]), views=7)
    with pytest.raises(UserError, match=r"6 views, 7 are wanted.*axe"):
        items.view_item("axe")
    with pytest.raises(UserError, match="no object 'cat'"):
        items.view_item("cat")
    Image.new("RGBA", (8, 8)).save(root / "axe/rgba/003.png")
    with pytest.raises(UserError, match=r"sides of 8, 20 pixels.*axe"):
        object_views(root, "axe", 14)
