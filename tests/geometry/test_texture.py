"""Baked textures against the field they show, and edits of a mesh's surface."""

import numpy as np
import pytest

from openlrm.errors import UserError
from openlrm.geometry.density_grid import FieldQuery
from openlrm.geometry.mesh import extract_mesh
from openlrm.geometry.mesh_edit import decimate, smooth
from openlrm.geometry.mesh_options import MeshSettings

pytest.importorskip("xatlas", reason="xatlas is not installed: pip install openlrm-mindspore[texture]")


def bumpy(points):
    """A ball with bumps: density 3 at its surface."""
    radius = np.linalg.norm(points, axis=1)
    return np.maximum(3 + 30 * (0.6 + 0.08 * np.sin(7 * points).prod(axis=1) - radius), 0)


def waves(points):
    """Colours with two waves across the ball, different along every axis."""
    return 0.5 + 0.45 * np.sin(points @ np.float32([[5, 1, 2], [1, 6, -2], [3, -1, 4]]))


@pytest.fixture(scope="module")
def mesh():
    return extract_mesh(bumpy, waves, size=40)


@pytest.fixture(scope="module")
def texture(mesh):
    from openlrm.geometry.texture import bake

    return bake(mesh.vertices, mesh.faces, lambda rays: waves(rays[:, :3]), 512, FieldQuery(10_000))


def on_the_surface(mesh, uv, uv_faces, count=20_000):
    """Random points on the surface, with their place in the texture: as many on each face."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), count)[..., None].astype(np.float32)
    face = rng.integers(len(mesh.faces), size=count)
    return (weights * mesh.vertices[mesh.faces[face]]).sum(1), (weights * uv[uv_faces[face]]).sum(1)


def look_up(picture, uv):
    """Bilinear interpolation as viewers do it, with v down."""
    size = len(picture)
    x, y = (uv * size - 0.5).T
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = 0
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
            texel = picture[np.clip(top + dy, 0, size - 1), np.clip(left + dx, 0, size - 1)]
            total = total + weight[:, None] * texel / 255
    return total


def psnr(a, b):
    return -10 * np.log10(np.mean((a - b) ** 2))


def test_the_texture_shows_the_field(mesh, texture):
    points, uv = on_the_surface(mesh, texture.uv, texture.faces)
    shown, truth = look_up(texture.picture, uv), waves(points)
    assert psnr(shown, truth) > 45
    assert np.abs(shown - truth).max() < 0.1, "on seams as well"
    assert psnr(look_up(texture.picture, uv * [1, -1] + [0, 1]), truth) < 20, "a picture upside down is seen"


def test_the_color_is_asked_with_the_normal(mesh):
    """A ball's normals point away from its centre; the texture's are those of the mesh, so within a few degrees."""
    from openlrm.geometry.texture import bake

    ball = extract_mesh(lambda p: np.maximum(3 + 9 * (0.6 - np.linalg.norm(p, axis=1)), 0), waves, size=40)
    seen = []
    bake(ball.vertices, ball.faces, lambda rays: seen.append(rays) or rays[:, :3] * 0, 128, FieldQuery(10_000))
    points, normals = np.split(np.concatenate(seen), 2, axis=1)
    cosine = (points * normals).sum(1) / np.linalg.norm(points, axis=1) / np.linalg.norm(normals, axis=1)
    assert cosine.min() > 0.95


def test_uv_belongs_to_the_mesh(mesh, texture):
    np.testing.assert_array_equal(texture.vertex[texture.faces], mesh.faces)
    assert texture.uv.min() >= 0 and texture.uv.max() <= 1
    assert texture.picture.shape == (512, 512, 3) and texture.picture.dtype == np.uint8
    a, b, c = np.moveaxis(texture.uv[texture.faces].astype(np.float64), 1, 0)
    area = np.abs(np.cross(b - a, c - a)).sum() / 2
    assert 0.3 < area <= 1, "charts fill the square and do not overlap"


def test_small_faces_have_their_place(mesh):
    """At a thousandth of the size every face is smaller than xatlas looks at."""
    from openlrm.geometry.texture import unwrap

    uv, _, faces = unwrap(mesh.vertices / 1000, mesh.faces, 256)
    a, b, c = np.moveaxis(uv[faces], 1, 0)
    assert (np.cross(b - a, c - a) != 0).all()


def test_smaller_levels_hold_no_foreign_colour(mesh):
    """A plain object stays plain at every level of the texture."""
    from openlrm.geometry.texture import bake

    picture = bake(
        mesh.vertices, mesh.faces, lambda rays: np.full_like(rays[:, :3], 0.25), 128, FieldQuery(10_000)
    ).picture
    assert set(np.unique(picture)) == {64}


def test_colours_that_are_not_finite(mesh):
    from openlrm.geometry.texture import bake

    with pytest.raises(UserError, match="colour is NaN"):
        bake(mesh.vertices, mesh.faces, lambda rays: rays[:, :3] * np.float32(np.nan), 64, FieldQuery(10_000))


def volume(vertices, faces):
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def assert_closed(faces, count):
    a, b = faces.astype(np.int64).T.reshape(-1), np.roll(faces, -1, axis=1).astype(np.int64).T.reshape(-1)
    np.testing.assert_array_equal(np.sort(a * count + b), np.sort(b * count + a))


def test_smoothing_takes_stairs_and_leaves_the_volume():
    """A field of zeros and ones has the stairs of its grid."""
    block = extract_mesh(lambda p: np.where(np.linalg.norm(p, axis=1) < 0.7, 6.0, 0.0), waves, size=40)
    smoothed = smooth(block.vertices, block.faces, 10)
    radius = [np.linalg.norm(vertices, axis=1) for vertices in (block.vertices, smoothed)]
    assert radius[1].std() < 0.6 * radius[0].std()
    assert volume(smoothed, block.faces) == pytest.approx(volume(block.vertices, block.faces), rel=0.01)
    assert smooth(block.vertices, block.faces, 0) is block.vertices


def test_decimation_keeps_the_shape(mesh):
    vertices, faces = decimate(mesh.vertices, mesh.faces, 1500)
    assert 1400 <= len(faces) <= 1500 < len(mesh.faces)
    assert (vertices.dtype, faces.dtype) == (np.float32, np.int32)
    assert_closed(faces, len(vertices))
    np.testing.assert_array_equal(np.unique(faces), np.arange(len(vertices)))
    assert volume(vertices, faces) == pytest.approx(volume(mesh.vertices, mesh.faces), rel=0.005)
    # Within a cell of the surface.
    slope = 30 * 2 / 39
    assert np.abs(bumpy(vertices) - 3).max() < slope
    for target in (None, len(mesh.faces), len(mesh.faces) + 1):
        assert decimate(mesh.vertices, mesh.faces, target)[1] is mesh.faces


def test_what_cannot_be_written_is_refused_before_the_work(monkeypatch):
    MeshSettings(faces=100).check("x.ply")
    MeshSettings(texture="atlas").check("x.OBJ")
    with pytest.raises(UserError, match=r"\.ply holds no texture.*glb or obj"):
        MeshSettings(texture="atlas").check("x.ply")
    with pytest.raises(UserError, match="mesh_texture=box is not known.*atlas"):
        MeshSettings(texture="box").check("x.glb")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    MeshSettings().check("x.ply")
    with pytest.raises(UserError, match=r"fast_simplification is missing.*\[texture\]"):
        MeshSettings(faces=100).check("x.ply")
