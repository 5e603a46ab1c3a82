"""Pictures of meshes: golden numbers, discs of known area, gradients against finite differences."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from openlrm.geometry import find_edges, flexicubes, render_surface, vertex_normals
from openlrm.geometry.antialias_kernels import find_pairs

PIXELS = 32


@pytest.mark.parametrize("kind", ["eval", "train"])
def test_golden_mask_depth_and_normals(surface_golden, lens, kind):
    mesh = Tensor(surface_golden[f"mesh_{kind}_v0"]), surface_golden[f"mesh_{kind}_f0"]
    views = render_surface(*mesh, surface_golden["mesh_w2c"][0], lens(50), (24, 24), antialias=False)
    for name in ("mask", "depth", "normal"):
        expected = surface_golden["mesh_render_" + ("train_" if kind == "train" else "") + name][0]
        np.testing.assert_allclose(getattr(views, name).asnumpy(), expected, atol=0 if name == "mask" else 1e-4)


@pytest.mark.parametrize("fov", [30, 50])
def test_golden_positions_and_normals(surface_golden, lens, fov):
    mesh = Tensor(surface_golden["raster_v"]), surface_golden["raster_f"]
    views = render_surface(*mesh, surface_golden[f"raster{fov}_w2c"], lens(fov), (32, 32), antialias=False)
    np.testing.assert_allclose(views.position.asnumpy(), surface_golden[f"raster{fov}_position"], atol=1e-5)
    normal = views.normal.asnumpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(normal, surface_golden[f"raster{fov}_normal"], atol=1e-5)


def disc(facets: int, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A fan of a radius in pixels beside the middle of a picture; its centre, the rim's directions and faces."""
    angle = np.arange(facets) * 2 * np.pi / facets + 0.1
    unit = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1) * 2 / PIXELS
    rim = 1 + np.arange(facets)
    faces = np.stack([0 * rim, rim, np.roll(rim, -1)], 1)
    return np.array([0.013, 0.007, 0]), np.concatenate([np.zeros((1, 3)), unit]), faces


@pytest.mark.parametrize("radius", [6.4, 8.3, 10.0, 11.6])
@pytest.mark.parametrize("facets", [12, 24, 50, 100, 200, 400])
def test_area_of_a_disc_and_its_derivative(facets, radius):
    """Facets from 6 pixels to 1/10: half a percent of the area, 5 % of the derivative by the radius."""
    centre, unit, faces = disc(facets, radius)
    pose = np.eye(4)[None].copy()
    pose[0, 2, 3] = -2
    base, direction = Tensor(centre + radius * unit), Tensor(unit)

    def area(change):
        views = render_surface(base + direction * change, faces, pose, np.array([1, 1, 0.5, 0.5]), (PIXELS, PIXELS))
        return views.mask.sum()

    found, slope = ms.value_and_grad(area)(Tensor(0.0, ms.float64))
    expected = 0.5 * facets * np.sin(2 * np.pi / facets) * radius**2
    assert float(found) == pytest.approx(expected, rel=0.005)
    assert float(slope) == pytest.approx(2 * expected / radius, rel=0.05)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A crumpled closed surface with two loose triangles before it, and colours of its vertices."""
    rng = np.random.default_rng(seed)
    sdf = np.linalg.norm(np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3, indexing="ij"), -1), axis=-1) - 0.7
    mesh = flexicubes(sdf + rng.normal(size=sdf.shape) * 0.12)
    loose = rng.uniform([-0.7, -1, -0.7], [1.3, 1, 1.3], (6, 3))
    vertices = np.concatenate([mesh.vertices.asnumpy(), loose])
    faces = np.concatenate([mesh.faces, len(vertices) - 6 + np.arange(6).reshape(2, 3)])
    return vertices, faces, rng.uniform(size=(len(vertices), 3))


def events(vertices, faces, views) -> list[np.ndarray]:
    """What is discrete in a picture: a finite difference means nothing across a change of it."""
    edges, found = find_edges(faces), []
    for view in views.visible:
        pairs, places = np.empty(2 * view.face.size, np.int32), np.zeros(2 * view.face.size)
        find_pairs(edges.ends, edges.firsts, edges.opposites, view.points, view.screen, view.lens, 0.1, view.face,
                   view.depth, pairs, places)  # fmt: skip
        found += [view.face, pairs, np.where(pairs >= 0, (np.abs(places) > 0.5) + 2 * np.signbit(places), -1)]
    return found


@pytest.mark.parametrize("what", ["mask", "depth", "normal", "attributes", "position"])
def test_gradients_are_those_of_finite_differences(around, lens, what):
    vertices, faces, colours = scene(0)
    poses, rng, step = around(2, 3.0), np.random.default_rng(1), 1e-6
    size, weights = (24, 24), {}

    def draw(vertices, colours):
        return render_surface(vertices, faces, poses, lens(40), size, attributes=colours)

    def value_of(views):
        picture = getattr(views, what)
        weights.setdefault(what, Tensor(np.random.default_rng(2).normal(size=picture.shape)))
        return (picture * weights[what]).sum()

    gradients = ms.grad(lambda v, c: value_of(draw(v, c)), (0, 1))(Tensor(vertices), Tensor(colours))
    before = events(vertices, faces, draw(Tensor(vertices), Tensor(colours)))
    scale = np.abs(gradients[0].asnumpy()).max()
    compared = 0
    seen = np.unique(faces[np.unique(before[0][before[0] >= 0])])
    for index in rng.permutation((seen[:, None] * 3 + np.arange(3)).reshape(-1))[:60]:
        values, same = [], True
        for sign in (1, -1):
            moved = vertices.copy()
            moved.reshape(-1)[index] += sign * step
            views = draw(Tensor(moved), Tensor(colours))
            same &= all(np.array_equal(a, b) for a, b in zip(before, events(moved, faces, views), strict=True))
            values.append(float(value_of(views)))
        if same:
            compared += 1
            slope = (values[0] - values[1]) / (2 * step)
            assert gradients[0].asnumpy().reshape(-1)[index] == pytest.approx(slope, rel=1e-3, abs=1e-5 * scale)
    assert compared > 50
    if what == "attributes":
        index = seen[len(seen) // 2]
        change = np.zeros_like(colours)
        change[index, 1] = 1
        slope = float(value_of(draw(Tensor(vertices), Tensor(colours + change)))) - float(
            value_of(draw(Tensor(vertices), Tensor(colours)))
        )
        assert gradients[1].asnumpy()[index, 1] == pytest.approx(slope, rel=1e-6)


def test_slopes_of_the_area_add_up_to_its_change(around, lens):
    """A crumpled surface that grows by a quarter: where slopes were biased, their sum would be off."""
    vertices, faces, _ = scene(3)

    def area(scale, antialias):
        mesh = Tensor(vertices) * scale, faces[:-2]
        return render_surface(*mesh, around(1, 3.0), lens(50), (40, 40), antialias=antialias).mask.sum()

    scales = np.linspace(0.9, 1.125, 61)
    found = [ms.value_and_grad(area)(Tensor(scale), True) for scale in scales]
    areas, slopes = np.array([[float(number) for number in pair] for pair in found]).T
    change = ((slopes[1:] + slopes[:-1]) / 2 * np.diff(scales)).sum()
    assert change == pytest.approx(areas[-1] - areas[0], rel=0.05)
    assert float(ms.grad(area)(Tensor(1.0, ms.float64), False)) == 0, "the hard mask has no gradient"


def test_normals_of_a_ball_point_outside():
    points = np.stack(np.meshgrid(*[np.linspace(-1, 1, 25)] * 3, indexing="ij"), -1)
    mesh = flexicubes(np.linalg.norm(points, axis=-1) - 0.8)
    vertices, normals = mesh.vertices.asnumpy(), vertex_normals(mesh.vertices, mesh.faces).asnumpy()
    cosine = np.einsum("vi,vi->v", vertices, normals) / np.linalg.norm(vertices, axis=1)
    assert np.degrees(np.arccos(cosine)).max() < 4


def test_a_vertex_without_area_has_the_default_normal():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]])
    faces = np.array([[0, 1, 2]])
    np.testing.assert_array_equal(vertex_normals(Tensor(vertices), faces).asnumpy(), [[0, 0, 1]] * 4)
    gradient = ms.grad(lambda v: vertex_normals(v, faces).sum())(Tensor(vertices))
    np.testing.assert_array_equal(gradient.asnumpy(), 0)


def test_edges_know_their_faces():
    faces = np.array([[0, 1, 2], [2, 1, 3], [1, 2, 4]])
    edges = find_edges(faces)
    found = {
        tuple(pair): set(edges.opposites[first:last].tolist())
        for pair, first, last in zip(edges.ends.tolist(), edges.firsts[:-1], edges.firsts[1:], strict=True)
    }
    assert found[(1, 2)] == {0, 3, 4} and found[(0, 1)] == {2} and len(found) == 7


def test_colours_of_covered_pixels_are_painted_where_they_belong(around, lens):
    vertices, faces, _ = scene(4)
    views = render_surface(Tensor(vertices), faces, around(2, 3.0), lens(50), (16, 16), attributes=Tensor(vertices))
    places = views.covered_positions()
    np.testing.assert_allclose(views.paint(places, 0.0).asnumpy(), views.attributes.asnumpy(), atol=1e-12)
    painted = views.paint(ops.sigmoid(places)).asnumpy().transpose(0, 2, 3, 1)
    hidden = np.stack([view.face for view in views.visible]) < 0
    assert (painted[hidden] == 1).all() and (painted[~hidden] < 1).all()


def test_nothing_in_sight_is_a_picture_of_nothing(around, lens):
    vertices = Tensor(np.zeros((0, 3), np.float32))
    views = render_surface(vertices, np.zeros((0, 3), np.int32), around(2, 3.0), lens(50), (8, 8))
    assert not views.mask.asnumpy().any() and not views.normal.asnumpy().any()
    assert (views.paint(ops.zeros((0, 3))).asnumpy() == 1).all()


def test_a_turned_world_and_camera_give_the_same_picture(around, lens):
    from openlrm.geometry.shapes import tilted

    vertices, faces, _ = scene(5)
    rotation, poses = tilted(), around(2, 3.0)
    turned = poses.copy()
    turned[:, :3, :3] = poses[:, :3, :3] @ rotation.T
    plain = render_surface(Tensor(vertices), faces, poses, lens(50), (24, 24))
    other = render_surface(Tensor(vertices @ rotation.T), faces, turned, lens(50), (24, 24))
    np.testing.assert_allclose(plain.mask.asnumpy(), other.mask.asnumpy(), atol=1e-9)
    np.testing.assert_allclose(plain.depth.asnumpy(), other.depth.asnumpy(), atol=1e-9)
