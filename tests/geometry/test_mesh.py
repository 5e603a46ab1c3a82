"""Meshes of analytic fields: known volumes and areas, closedness, sparse grid against dense grid."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openlrm.errors import UserError
from openlrm.geometry.density_grid import DensityGrid, FieldQuery
from openlrm.geometry.mesh import extract_mesh

REPOSITORY = Path(__file__).parents[2]
# Nodes are two cells apart from here on; the last block is one cell wide.
SPARSE_SIZE = 192


def density_of(raw):
    """Density as the field makes it from a raw value; 3 is passed where raw is 3.95."""
    return lambda points: np.logaddexp(0, raw(points) - 1)


def position_color(points):
    return (points + 1) / 2


def ball(centre=(0, 0, 0), radius=0.6, slope=40):
    # Offset so that the surface at density 3 is the sphere itself.
    return lambda p: np.log(np.expm1(3.0)) + 1 + slope * (radius - np.linalg.norm(p - np.float32(centre), axis=1))


def plate(normal, offset, half):
    normal = np.float32(normal) / np.linalg.norm(normal)
    return lambda p: np.maximum(4 + (half - np.abs(p @ normal - offset)) * 800, -10)


def union(*fields):
    return lambda p: np.max([field(p) for field in fields], axis=0)


def intersection(*fields):
    return lambda p: np.min([field(p) for field in fields], axis=0)


def noise(seed=0, waves=10, frequency=10):
    """A sum of plane waves about 60 grid cells long: knots, holes and islands everywhere, cut by the cube."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(waves, 3)) * frequency / np.sqrt(3)
    phase = rng.uniform(0, 2 * np.pi, waves)
    return lambda p: 4 * np.sin(p.astype(np.float64) @ direction.T + phase).sum(axis=1) / np.sqrt(waves)


def mesh_of(raw, size, **options):
    return extract_mesh(density_of(raw), position_color, size=size, **options)


def directed_edges(mesh):
    """Edge from a to b as one number, and the number of the opposite edge."""
    a = mesh.faces.astype(np.int64).T.reshape(-1)
    b = np.roll(mesh.faces, -1, axis=1).astype(np.int64).T.reshape(-1)
    return a * len(mesh.vertices) + b, b * len(mesh.vertices) + a


def assert_sound(mesh):
    vertices, faces, colors = mesh[:3]
    assert (vertices.dtype, faces.dtype, colors.dtype) == (np.float32, np.int32, np.float32)
    assert np.abs(vertices).max() <= 1
    assert colors.shape == vertices.shape
    assert 0 <= colors.min() <= colors.max() <= 1
    edges, opposite = directed_edges(mesh)
    np.testing.assert_array_equal(np.sort(edges), np.sort(opposite), err_msg="the surface has a border")
    ordered = np.sort(faces, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all(), "a face repeats a vertex"
    keys = ordered.astype(np.int64) @ [len(vertices) ** 2, len(vertices), 1]
    assert len(np.unique(keys)) == len(faces), "a face is there twice"
    assert len(np.unique(vertices, axis=0)) == len(vertices), "a vertex is there twice"
    np.testing.assert_array_equal(np.unique(faces), np.arange(len(vertices)))


def volume(mesh):
    """Divergence theorem; positive only if the faces are counter-clockwise seen from outside."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def area(mesh):
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def euler(mesh):
    edges, opposite = directed_edges(mesh)
    return len(mesh.vertices) - len(np.unique(np.minimum(edges, opposite))) + len(mesh.faces)


def test_a_ball_has_its_volume_place_and_colour():
    centre = np.array([0.15, -0.1, 0.2])
    mesh = mesh_of(ball(centre, 0.5, slope=3), 64)
    assert_sound(mesh)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=3e-3)
    assert area(mesh) == pytest.approx(4 * np.pi * 0.5**2, rel=3e-3)
    assert euler(mesh) == 2
    # No half-voxel shift: every vertex within a hundredth of a cell of the sphere.
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - centre, axis=1), 0.5, atol=0.01 * 2 / 63)
    np.testing.assert_allclose(mesh.colors, position_color(mesh.vertices), atol=1e-6)


def test_axes_are_not_exchanged():
    """An ellipsoid has three different sizes; a permuted grid would exchange them."""
    sizes = np.float32([0.8, 0.5, 0.3])
    mesh = mesh_of(lambda p: 3.95 + 5 * (1 - np.linalg.norm(p / sizes, axis=1)), 49)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), sizes, atol=0.01)
    np.testing.assert_allclose(mesh.vertices.min(axis=0), -sizes, atol=0.01)


@pytest.mark.parametrize("size", [2, 3, 20, SPARSE_SIZE])
def test_a_full_field_is_the_cube_and_is_warned_of(size, caplog):
    mesh = mesh_of(lambda p: 9 + p[:, 0], size)
    assert_sound(mesh)
    assert volume(mesh) == pytest.approx(8)
    assert area(mesh) == pytest.approx(24)
    assert "above the threshold 3.0 everywhere" in caplog.text


def test_a_surface_through_the_side_of_the_cube_is_capped():
    """Half a ball at the side x = 1: a flat cap on the cube closes it."""
    mesh = mesh_of(ball((1, 0, 0), 0.5, slope=3), 64)
    assert_sound(mesh)
    assert volume(mesh) == pytest.approx(2 / 3 * np.pi * 0.5**3, rel=5e-3)
    assert area(mesh) == pytest.approx(3 * np.pi * 0.5**2, rel=5e-3)
    assert mesh.vertices[:, 0].max() == 1
    # In an edge and a corner of the cube several caps meet.
    for centre, part in (((1, 1, 0), 4), ((-1, 1, -1), 8)):
        mesh = mesh_of(ball(centre, 0.5, slope=3), 64)
        assert_sound(mesh)
        assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3 / part, rel=8e-3)


def test_density_equal_to_the_threshold_on_grid_points():
    """A diamond whose surface runs through grid points, where marching cubes alone repeats vertices."""
    mesh = extract_mesh(lambda p: 3 + 0.5 - np.abs(p).sum(axis=1), position_color, size=17, threshold=3.0)
    assert_sound(mesh)
    assert volume(mesh) == pytest.approx(4 / 3 * 0.5**3, rel=1e-5)
    steps = np.rint(4 * np.random.default_rng(0).random((9, 9, 9)))
    mesh = extract_mesh(
        lambda p: steps[tuple(np.rint((p + 1) * 4).astype(int).T)], position_color, size=9, threshold=2.0
    )
    assert_sound(mesh)


TILTED = (0.6, 0.48, 0.64)
FIELDS = {
    "ball": ball(),
    "soft ball": ball(slope=4),
    "tiny ball": ball((0.31, 0.17, -0.43), 0.03, slope=300),
    "touching balls": union(ball((0.4, 0, 0), 0.4), ball((-0.4, 0, 0), 0.4)),
    "cavity": lambda p: 8 - ball(radius=0.1)(p),
    "plate along a node plane": plate((1, 0, 0), 0.1051, 0.006),
    "plate between node planes": plate((0, 1, 0), 0.0942, 0.006),
    "tilted plate": plate(TILTED, 0.1, 0.006),
    "edge of a plate": intersection(plate(TILTED, 0.1, 0.01), ball(radius=0.7)),
    "noise": noise(),
    "nearly empty": lambda p: ball((0.9, 0.9, 0.9), 0.2)(p),
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_sparse_mesh_is_the_dense_mesh(name):
    asked = {False: 0, True: 0}
    meshes = {}
    for dense in asked:

        def counted(points, dense=dense):
            asked[dense] += len(points)
            return density_of(FIELDS[name])(points)

        meshes[dense] = extract_mesh(counted, position_color, size=SPARSE_SIZE, dense=dense)
    for sparse_part, dense_part in zip(meshes[False], meshes[True], strict=True):
        np.testing.assert_array_equal(sparse_part, dense_part)
    assert_sound(meshes[False])
    assert asked[True] == SPARSE_SIZE**3
    if name != "noise":
        assert asked[False] < 0.5 * SPARSE_SIZE**3


def test_the_surface_is_followed_into_blocks_the_nodes_do_not_show():
    """A rod thinner than the node spacing grows out of a ball and passes between nodes."""
    grid = DensityGrid(SPARSE_SIZE)
    between = float((grid.axis[50 * grid.stride] + grid.axis[51 * grid.stride]) / 2)
    half = 0.3 * float(grid.axis[1] - grid.axis[0])

    def density(points):
        rod = (np.abs(points[:, 1:] - between) < half).all(axis=1) & (np.abs(points[:, 0]) < 0.9)
        inside = (np.linalg.norm(points - np.float32([0, between, between]), axis=1) < 0.2) | rod
        return np.where(inside, 50.0, 0.0)

    sparse, dense = (extract_mesh(density, position_color, SPARSE_SIZE, dense=d) for d in (False, True))
    assert sparse.vertices[:, 0].max() == pytest.approx(0.9, abs=0.02), "the rod is there to its end"
    np.testing.assert_array_equal(sparse.faces, dense.faces)
    np.testing.assert_array_equal(sparse.vertices, dense.vertices)


@pytest.mark.parametrize(("size", "dense"), [(30, False), (SPARSE_SIZE, False), (30, True)])
@pytest.mark.parametrize(
    "raw",
    [ball(radius=-0.02, slope=30), lambda p: 0 * p[:, 0] + 1, lambda p: 0.001 * p[:, 2] - 2],
    ids=["peak", "flat", "ramp"],
)
def test_no_surface_names_a_threshold_that_gives_one(raw, size, dense):
    with pytest.raises(
        UserError, match=r"no surface at threshold 3\.0: density lies in \[.*\]\. try mesh_thres="
    ) as caught:
        mesh_of(raw, size, dense=dense)
    threshold = float(caught.value.hint.split("=")[1])
    assert 0 < threshold < 3
    assert_sound(mesh_of(raw, size, threshold=threshold))


def test_a_peak_that_rounds_to_a_point_is_no_surface():
    """One grid point a hair above the threshold: its eight triangles shrink to nothing in float32."""
    with pytest.raises(UserError, match="no surface"):
        extract_mesh(lambda p: np.where((p == 0.5).all(axis=1), 3.0000002, 0), position_color, size=17)


def test_an_empty_field_is_called_empty():
    with pytest.raises(UserError, match=r"density lies in \[0, 0\]\. the field is empty"):
        extract_mesh(lambda p: 0 * p[:, 0], position_color, size=20)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(value):
    spoiled = lambda p: np.where(p[:, 0] > 0.5, value, density_of(ball())(p))  # noqa: E731
    with pytest.raises(UserError, match="density is NaN"):
        extract_mesh(spoiled, position_color, size=20)
    with pytest.raises(UserError, match="colour is NaN"):
        extract_mesh(density_of(ball()), lambda p: p * np.float32(value), size=20)


@pytest.mark.parametrize("options", [{"size": 1}, {"threshold": 0.0}, {"threshold": -1}, {"threshold": np.nan}])
def test_options_out_of_range(options):
    with pytest.raises(UserError, match="mesh_"):
        extract_mesh(density_of(ball()), position_color, **{"size": 20, **options})


def test_chunks_change_nothing_and_progress_arrives():
    raw, seen, lengths = ball(slope=5), [], []

    def density(points):
        lengths.append(len(points))
        return density_of(raw)(points)

    small = extract_mesh(density, position_color, 40, chunk=999, progress=lambda *state: seen.append(state))
    for part, whole in zip(small, mesh_of(raw, 40), strict=True):
        np.testing.assert_array_equal(part, whole)
    assert set(lengths[:-1]) == {999}, "full chunks keep one shape for a compiled field"
    done, total = np.array(seen).T
    assert (np.diff(done) > 0).all()
    assert (done <= total).all()
    assert done[-1] == total[-1] == 40**3 + len(small.vertices)


def test_colours_are_clipped():
    """The field's colours reach 0.001 beyond the range."""
    mesh = extract_mesh(density_of(ball()), lambda p: np.where(p > 0, 1.001, -0.001), size=20)
    assert set(np.unique(mesh.colors)) == {0.0, 1.0}


def test_query_reports_what_it_did():
    query = FieldQuery(4)
    query.total = 10
    values = query.ask(lambda p: p[:, 0], np.arange(30, dtype=np.float32).reshape(10, 3), "x")
    np.testing.assert_array_equal(values, np.arange(10) * 3)
    assert query.done == 10


@pytest.mark.slow
def test_memory_of_the_default_size():
    """384^3 stays below 2 GiB, measured in a process of its own."""
    program = r"""
import re, sys
import numpy as np
from openlrm.geometry.mesh import extract_mesh
density = lambda p: np.logaddexp(0, 40 * (0.8 - np.linalg.norm(p, axis=1)), dtype=np.float32)
mesh = extract_mesh(density, lambda p: (p + 1) / 2)
# ru_maxrss would count the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(peak, len(mesh.faces), "mindspore" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    peak, faces, imported = done.stdout.split()
    assert int(faces) > 400_000
    assert int(peak) < 1 << 20, "kilobytes; half of the 2 GiB it may take"
    assert imported == "False"
