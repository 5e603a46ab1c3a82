"""Depth and normal maps of a ball that the tests draw, as training items carry them."""

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import Camera
from openlrm.datasets import DataConfig, SubsetConfig, collate
from openlrm.datasets.maps import DEPTH_UNIT, MapItems
from openlrm.errors import UserError

RADIUS = 0.6
SIDE = 32


def ball_seen(camera: Camera, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance along the ray (side, side), 0 beside the ball, and normals (side, side, 3)."""
    middle = (np.arange(side) + 0.5) / side
    fx, fy, cx, cy = camera.intrinsics
    x, y = np.meshgrid((middle - cx) / fx, -(middle - cy) / fy)
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera.rotations.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = -rays @ camera.centers
    under = along**2 - camera.centers @ camera.centers + RADIUS**2
    distance = np.where(under > 0, along - np.sqrt(np.maximum(under, 0)), 0)
    normals = (camera.centers + rays * distance[..., None]) / RADIUS * (under > 0)[..., None]
    return distance, normals


@pytest.fixture
def balls(write_set, tmp_path):
    """Two objects with maps of a ball."""
    root = write_set(tmp_path / "set", ["a", "b"], side=SIDE)
    for uid in ("a", "b"):
        intrinsics = np.load(root / uid / "intrinsics.npy")
        lens = [*(intrinsics[0] / SIDE), *(intrinsics[1] / SIDE)]
        for kind in ("depth", "normal"):
            (root / uid / kind).mkdir()
        for file in sorted((root / uid / "pose").iterdir()):
            camera = Camera(np.load(file)[None, :3], [lens])[0]
            distance, normals = ball_seen(camera, SIDE)
            points = camera.centers + (normals * RADIUS - camera.centers) * (distance > 0)[..., None]
            axis = (points - camera.centers) @ -camera.rotations[:, 2]
            Image.fromarray(np.rint(axis * DEPTH_UNIT).astype(np.uint16)).save(
                root / uid / "depth" / f"{file.stem}.png"
            )
            rgba = np.concatenate([normals * 127.5 + 127.5, 255.0 * (distance > 0)[..., None]], axis=-1)
            Image.fromarray(np.rint(rgba).astype(np.uint8), "RGBA").save(root / uid / "normal" / f"{file.stem}.png")
    return root


def items(root, **options) -> MapItems:
    sizes = {"render_image_low": SIDE, "render_image_high": SIDE, "render_region_size": 24, "source_image_res": 16}
    return MapItems(DataConfig([SubsetConfig([str(root)])], sample_side_views=2, **sizes | options), seed=0)


def test_items_carry_distance_along_the_ray_and_world_normals(balls):
    item = items(balls, normalize_camera=False).item(0, 0)
    assert item.depths.shape == (3, 1, 24, 24) and item.normals.shape == (3, 3, 24, 24)
    for view in range(3):
        row, column = item.anchors[view].astype(int)
        part = np.s_[row : row + 24, column : column + 24]
        distance, normals = ball_seen(item.cameras[view], SIDE)
        depth = item.depths[view, 0]
        hit = depth > 0
        assert 0.05 < hit.mean() < 0.9
        np.testing.assert_allclose(depth[hit], distance[part][hit], atol=3e-4)
        np.testing.assert_allclose(item.normals[view].transpose(1, 2, 0)[hit], normals[part][hit], atol=6e-3)
        assert not depth[distance[part] == 0].any() and not item.normals[view][:, distance[part] == 0].any()


def test_a_batch_has_maps_when_all_its_objects_have(balls):
    drawn = items(balls, normalize_camera=False)
    both = [drawn.item(0, 0), drawn.item(0, 1)]
    assert collate(both).depths.shape == (2, 3, 1, 24, 24)
    for folder in ("depth", "normal"):
        for file in (balls / "b" / folder).iterdir():
            file.unlink()
    bare = items(balls, normalize_camera=False)
    mixed = collate([bare.item(0, 0), bare.item(0, 1)])
    assert mixed.depths is None and mixed.normals is None


def test_a_map_of_another_kind_and_turned_worlds_are_refused(balls):
    with pytest.raises(UserError, match="normalize_camera"):
        items(balls, normalize_camera=True)
    for file in (balls / "a" / "depth").iterdir():
        Image.new("RGB", (SIDE, SIDE)).save(file)
    drawn = items(balls, normalize_camera=False, max_broken=2)
    drawn.item(0, 0), drawn.item(0, 1)
    assert any("the depth map is no 16-bit PNG" in reason for reason in drawn.broken.values())
