"""FlexiCubes against golden numbers and finite differences."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

import openlrm.geometry
from openlrm.errors import UserError
from openlrm.geometry import FlexiMesh, cases, find_topology, flexicubes, sign_regulariser

GRIDS = ("sphere", "noise", "padded")
KINDS = ("eval", "train", "dev")
TIE = 1e-6
"""Deviations below it are rounding: their sign, and so L_dev's gradient there, is arbitrary."""


def mesh_of(grid: dict, training: bool = False) -> FlexiMesh:
    return flexicubes(grid["sdf"], grid["weights"], grid["x"], training=training)


def named_triangles(faces: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Triangles by the keys of their corners, the smallest first, in order."""
    named = keys[faces]
    first = named.argmin(1)
    named = np.stack([named[np.arange(len(named)), (first + k) % 3] for k in range(3)], 1)
    return named[np.lexsort(named.T)]


def with_centres(keys: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Keys of training vertices: a centre is known by the sum of its four corners', made negative."""
    count = faces.max() + 1
    sums = np.zeros(count, np.int64)
    corners, centres = keys[faces[:, :2]], faces[:, 2]
    np.add.at(sums, centres, corners.sum(1))
    return np.where(np.arange(count) < len(keys), np.pad(keys, (0, count - len(keys))), -sums)


def objective(kind: str, sdf, points, weights):
    mesh = flexicubes(sdf, weights, points, training=kind != "eval")
    if kind == "dev":
        return mesh.deviations.mean()
    x, y, z = (mesh.vertices[:, axis] for axis in range(3))
    return (ops.sin(2 * x) + ops.cos(3 * y) + z * z * x).mean()


def gradients_of(kind: str, grid: dict) -> dict[str, np.ndarray]:
    inputs = [Tensor(grid[name]) for name in ("sdf", "x", "weights")]
    found = ms.grad(lambda *args: objective(kind, *args), (0, 1, 2))(*inputs)
    return {name: gradient.asnumpy() for name, gradient in zip(("sdf", "x", "weights"), found, strict=True)}


def check_against_golden(grid: dict) -> None:
    keys = grid["vertex_key"]
    for kind in ("eval", "train"):
        mesh = mesh_of(grid, training=kind == "train")
        ours = mesh.topology.vertex_keys
        order, theirs = ours.argsort(), keys.argsort()
        np.testing.assert_array_equal(ours[order], keys[theirs])
        vertices, expected = mesh.vertices.asnumpy(), grid[f"{kind}_v"]
        np.testing.assert_allclose(vertices[order], expected[theirs], atol=1e-5)
        faces = grid[f"{kind}_f"]
        if kind == "train":
            ours, keys = with_centres(ours, mesh.faces), with_centres(keys, faces)
            # Centres of two quads with equal sums would hide a mistake.
            assert len(np.unique(ours)) == len(ours)
            np.testing.assert_allclose(vertices[ours.argsort()], expected[keys.argsort()], atol=1e-5)
        np.testing.assert_array_equal(named_triangles(mesh.faces, ours), named_triangles(faces, keys))
    order = np.argsort(np.repeat(mesh.topology.vertex_keys, patch_lengths(mesh)), kind="stable")
    theirs = np.argsort(np.repeat(grid["vertex_key"], key_lengths(grid["vertex_key"])), kind="stable")
    np.testing.assert_allclose(mesh.deviations.asnumpy()[order], grid["l_dev"][theirs], atol=1e-6)


def patch_lengths(mesh: FlexiMesh) -> np.ndarray:
    return key_lengths(mesh.topology.vertex_keys)


def key_lengths(keys: np.ndarray) -> np.ndarray:
    """Edges of a patch by its key."""
    return ((keys % 4096)[:, None] >> np.arange(12) & 1).sum(1)


def certain(grid: dict) -> dict[str, np.ndarray]:
    """Where L_dev's gradient is more than rounding: entries of cubes without a tie, and points of such cubes alone."""
    mesh = mesh_of(grid, training=True)
    topology, deviations = mesh.topology, mesh.deviations.asnumpy()
    tied = np.zeros(topology.shape, bool)
    owners = np.repeat(np.arange(len(topology.cubes)), np.diff(topology.terms))
    tied.reshape(-1)[topology.cubes[owners[deviations < TIE]]] = True
    points = np.ones(grid["sdf"].shape, bool)
    for corner in range(8):
        x, y, z = (slice(corner >> axis & 1, n + (corner >> axis & 1)) for axis, n in enumerate(topology.shape))
        points[x, y, z] &= ~tied
    return {"sdf": points, "x": points, "weights": ~tied}


def check_gradients(kind: str, grid: dict) -> None:
    sure = certain(grid) if kind == "dev" else {name: slice(None) for name in ("sdf", "x", "weights")}
    for name, gradient in gradients_of(kind, grid).items():
        expected = grid[f"{kind}_grad_{name}"].reshape(gradient.shape)[sure[name]]
        assert expected.any() or name == "weights"
        np.testing.assert_allclose(gradient[sure[name]], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", GRIDS)
def test_golden_keys_vertices_and_faces(cubes_golden, name):
    check_against_golden(cubes_golden[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GRIDS)
def test_golden_gradients(cubes_golden, name, kind):
    check_gradients(kind, cubes_golden[name])


@pytest.mark.parametrize("name", GRIDS)
def test_golden_sign_regulariser(cubes_golden, name):
    grid = cubes_golden[name]
    value, gradient = ms.value_and_grad(lambda sdf: sign_regulariser([sdf]))(Tensor(grid["sdf"]))
    expected = grid["sdf_bce_grad"].reshape(gradient.shape)
    np.testing.assert_allclose(float(value), grid["sdf_bce"], rtol=1e-5)
    np.testing.assert_allclose(gradient.asnumpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_golden_shape_with_trained_weights(shared_dir, read_cubes):
    grid = read_cubes(shared_dir / "golden" / "instantmesh" / "flexicubes.npz")["shape"]
    check_against_golden(grid)
    for kind in KINDS:
        check_gradients(kind, grid)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    rng = np.random.default_rng(1)
    grid = {"sdf": rng.normal(size=(4, 5, 4)), "weights": rng.normal(size=(3, 4, 3, 21))}
    grid["sdf"] += 0.3 * np.sign(grid["sdf"])
    grid["x"] = np.stack(np.meshgrid(*map(np.arange, (4, 5, 4)), indexing="ij"), -1) + rng.uniform(
        -0.1, 0.1, (4, 5, 4, 3)
    )
    found = gradients_of(kind, grid)
    step = 1e-6
    for name, array in grid.items():
        for index in rng.permutation(array.size)[:40]:
            values = []
            for sign in (1, -1):
                moved = {**grid, name: array.copy()}
                moved[name].reshape(-1)[index] += sign * step
                values.append(float(objective(kind, *(Tensor(moved[key]) for key in ("sdf", "x", "weights")))))
            slope = (values[0] - values[1]) / (2 * step)
            assert found[name].reshape(-1)[index] == pytest.approx(slope, abs=1e-8, rel=1e-6)


def test_weights_of_surface_cubes_alone_are_enough(cubes_golden):
    grid = cubes_golden["noise"]
    whole = mesh_of(grid)
    few = grid["weights"].reshape(-1, 21)[whole.topology.cubes]
    again = flexicubes(grid["sdf"], few, grid["x"], topology=whole.topology)
    np.testing.assert_array_equal(whole.vertices.asnumpy(), again.vertices.asnumpy())
    np.testing.assert_array_equal(whole.faces, again.faces)
    of_few = ms.grad(lambda w: objective("train", Tensor(grid["sdf"]), Tensor(grid["x"]), w))(Tensor(few))
    of_all = gradients_of("train", grid)["weights"].reshape(-1, 21)
    np.testing.assert_array_equal(of_few.asnumpy(), of_all[whole.topology.cubes])
    untouched = np.delete(of_all, whole.topology.cubes, 0)
    assert not untouched.any()


def test_weights_move_vertices_but_join_the_same_patches():
    rng = np.random.default_rng(2)
    sdf = rng.normal(size=(6, 6, 6)).astype(np.float32)
    plain, bent = flexicubes(sdf), flexicubes(sdf, rng.normal(size=(5, 5, 5, 21)).astype(np.float32))
    np.testing.assert_array_equal(plain.topology.vertex_keys, bent.topology.vertex_keys)
    assert np.abs(plain.vertices.asnumpy() - bent.vertices.asnumpy()).max() > 0.01


def test_points_are_the_corners_of_surface_cubes():
    sdf = np.random.default_rng(3).normal(size=(4, 5, 6))
    topology = find_topology(sdf)
    expected = np.zeros(sdf.shape, bool)
    for x, y, z in np.argwhere(np.ones((3, 4, 5))):
        inside = sdf[x : x + 2, y : y + 2, z : z + 2] < 0
        if inside.any() and not inside.all():
            expected[x : x + 2, y : y + 2, z : z + 2] = True
    np.testing.assert_array_equal(topology.points, np.flatnonzero(expected))


@pytest.mark.parametrize("training", [False, True])
def test_no_surface_gives_an_empty_mesh_and_no_gradient(training):
    sdf = Tensor(np.ones((4, 4, 4), np.float32))
    mesh = flexicubes(sdf, training=training)
    assert mesh.vertices.shape == (0, 3) and mesh.faces.shape == (0, 3) and mesh.deviations.shape == (0,)
    gradient = ms.grad(lambda s: flexicubes(s, training=training).vertices.sum() + s.mean())(sdf)
    np.testing.assert_allclose(gradient.asnumpy(), 1 / 64)


def test_the_same_on_one_thread_and_on_many(cubes_golden, monkeypatch):
    grid = cubes_golden["noise"]
    monkeypatch.setattr(openlrm.geometry.flexicubes_mesh, "_TASK_CUBES", 7)
    parts, found = mesh_of(grid, training=True), gradients_of("train", grid)
    monkeypatch.setattr(openlrm.geometry.flexicubes_mesh, "_TASK_CUBES", 10**6)
    whole, expected = mesh_of(grid, training=True), gradients_of("train", grid)
    np.testing.assert_array_equal(parts.vertices.asnumpy(), whole.vertices.asnumpy())
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sdf": np.ones((4, 4))}, "no grid"),
        ({"sdf": np.full((4, 4, 4), np.nan)}, "64 of 64"),
        ({"sdf": np.array([[[1.0, np.inf], [1, 1]], [[1, 1], [1, -1]]])}, "1 of 8"),
        ({"weights": np.zeros((3, 3, 3, 20))}, "neither of all cubes"),
        ({"points": np.zeros((3, 3, 3, 3))}, "not those of a grid"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(UserError, match=message):
        flexicubes(**{"sdf": np.ones((4, 4, 4)), **changed})


def test_another_grids_topology_is_refused():
    with pytest.raises(UserError, match="do not belong"):
        flexicubes(np.ones((4, 4, 4)), topology=find_topology(np.ones((3, 3, 3))))


def test_tables_have_the_published_counts():
    assert np.bincount(cases.PATCHES).tolist() == [2, 162, 82, 8, 2]
    assert cases.PATCH_SIZES.max() == 7
    inside = [bin(case).count("1") for case in np.flatnonzero(cases.TWISTED_FACE >= 0)]
    assert (inside.count(5), inside.count(6), len(inside)) == (24, 12, 36)


def test_tables_turn_with_the_cube():
    """A quarter turn about z permutes corners and edges; patches must go along."""
    turned = np.array([1, 3, 0, 2, 5, 7, 4, 6])
    ends = [tuple(sorted(pair)) for pair in cases.EDGES.tolist()]
    moved = [ends.index(tuple(sorted(turned[list(pair)].tolist()))) for pair in cases.EDGES.tolist()]
    for case in range(256):
        other = sum(1 << turned[i] for i in range(8) if case >> i & 1)
        before, after = cases.PATCH[case], cases.PATCH[other][moved]
        assert ((before[:, None] == before) == (after[:, None] == after)).all()
        assert (cases.TWISTED_FACE[case] >= 0) == (cases.TWISTED_FACE[other] >= 0)
