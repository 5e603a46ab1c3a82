"""Gaussians as a representation: views, files by suffix, and what they do not have."""

import numpy as np
import pytest

from openlrm.cameras import Camera, turntable
from openlrm.errors import UserError
from openlrm.representations import read_representation
from openlrm.representations.gaussians import Gaussians
from openlrm.representations.gaussians.representation import GaussianScene


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    rotations = rng.normal(size=(30, 4))
    return GaussianScene(
        Gaussians(
            means=rng.uniform(-0.5, 0.5, (30, 3)),
            scales=rng.uniform(0.02, 0.1, (30, 3)),
            rotations=rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
            opacities=rng.uniform(0.2, 0.9, (30, 1)),
            colors=rng.uniform(0, 1, (30, 3)),
        )
    )


def test_views_are_the_rasterisers(scene):
    cameras = Camera(turntable(3))
    for i, view in enumerate(scene.views(cameras, 24, background=0.5)):
        rgb, _, alpha = scene.gaussians.render(cameras[i], (24, 24), (0.5, 0.5, 0.5))
        assert np.array_equal(view.rgb, rgb.transpose(1, 2, 0)) and np.array_equal(view.mask, alpha[0])


def test_distance_is_along_the_ray():
    """A plate across the corner of the picture is as far as its own middle."""
    camera = Camera.canonical(2.0)
    place = np.array([0.45, 0.0, 0.45])
    plate = Gaussians([place], [[0.05, 0.05, 0.05]], [[1, 0, 0, 0]], [[0.99]], [[0, 0, 0]])
    (view,) = GaussianScene(plate).views(camera[None], 65)
    uv, _ = camera.project(place[None])
    column, row = (uv[0] * 65).astype(int)
    assert view.mask[row, column] > 0.9
    assert view.depth[row, column] == pytest.approx(np.linalg.norm(place - camera.centers), abs=0.01)


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".glb"])
def test_files_come_back_as_the_same_scene(scene, tmp_path, suffix):
    path = scene.save(tmp_path / f"scene{suffix}")
    again = read_representation(path)
    assert again.describe() == scene.describe() == "30 Gaussians"
    cameras = Camera(turntable(2))
    for one, other in zip(scene.views(cameras, 32), again.views(cameras, 32), strict=True):
        assert np.abs(one.rgb - other.rgb).max() < (0.03 if suffix == ".splat" else 1e-4)


def test_raw_and_scaled_files(scene, tmp_path):
    scene.save(tmp_path / "raw.ply", raw=True, scale=0.5)
    again = read_representation(tmp_path / "raw.ply").gaussians
    np.testing.assert_allclose(again.means, scene.gaussians.means / 2, rtol=1e-6)
    np.testing.assert_allclose(again.opacities, scene.gaussians.opacities, rtol=1e-6)


def test_pages_and_videos(scene, tmp_path):
    page = scene.save(tmp_path / "page.html", title="thirty")
    assert "thirty" in page.read_text() and page.stat().st_size < 100_000
    assert scene.save(tmp_path / "turn.gif", views=2, size=16).stat().st_size > 100


@pytest.mark.parametrize(("name", "words"), [("a.obj", "no mesh to write as .obj"), ("a.xyz", "no form '.xyz'")])
def test_other_forms_are_refused(scene, tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        scene.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_mesh_and_no_field(scene):
    with pytest.raises(UserError, match="Gaussians have no mesh"):
        scene.mesh()
    with pytest.raises(UserError, match="no density field"):
        scene.field(np.zeros((1, 3)))


def test_nan_is_named(scene):
    scene.gaussians.scales[3] = np.nan
    assert scene.non_finite() == "scales of the Gaussians"
