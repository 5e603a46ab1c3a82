"""The miniature's heads, meshes and surface views against the published implementation; PyNative."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from openlrm.geometry import sign_regulariser
from openlrm.geometry.sdf import displace
from openlrm.ops import build_table

FOV50 = np.array([0.5 / np.tan(np.radians(25)), 0.5 / np.tan(np.radians(25)), 0.5, 0.5], np.float32)


def assert_close(actual, expected, tolerance, name="") -> None:
    actual = actual.asnumpy() if isinstance(actual, Tensor) else actual
    assert actual.shape == expected.shape, name
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-12), name


def planes_of(arrays, index):
    return Tensor(arrays["planes"][index : index + 1])


@pytest.mark.usefixtures("pynative")
def test_heads(surface, arrays):
    synthesizer = surface.synthesizer
    assert_close(synthesizer.grid.reshape(-1, 3), arrays["mesh_grid"], 1e-6)
    decoder = synthesizer.decoder
    for index in (0, 1):
        planes = planes_of(arrays, index)
        features = decoder.features(build_table(planes), Tensor(arrays["mesh_grid"]))
        assert_close(decoder.distances(features), arrays["mesh_sdf"][index, :, 0], 1e-5)
        assert_close(synthesizer.distances(planes).reshape(-1), arrays["mesh_sdf"][index, :, 0], 1e-5)
        raw = decoder.offsets(features)
        assert_close(raw, arrays["mesh_deformation_raw"][index], 1e-5)
        grid = Tensor(synthesizer.grid.copy())
        moved = displace(grid, raw.reshape(grid.shape)) - grid
        assert_close(moved.reshape(-1, 3), arrays["mesh_deformation"][index], 1e-5)
        corner = np.arange(8)
        x, y, z = (axis.reshape(-1, 1) for axis in np.indices((12, 12, 12)))
        corners = ((x + (corner & 1)) * 13 + y + (corner >> 1 & 1)) * 13 + z + (corner >> 2)
        assert_close(decoder.weights(features, corners), arrays["mesh_weight"][index], 1e-5)
        colors = synthesizer.colors(planes, Tensor(arrays["points"][index]))
        assert_close(colors, arrays["mesh_points_rgb"][index], 1e-5)


@pytest.mark.usefixtures("pynative")
def test_mesh(surface, arrays):
    mesh = surface.synthesizer.geometry(planes_of(arrays, 0)).mesh()
    wanted, faces = arrays["mesh_eval_v0"], arrays["mesh_eval_f0"]
    # Vertices and faces of the published result are listed in another order.
    order = [np.lexsort(np.round(vertices, 4).T) for vertices in (mesh.vertices.asnumpy(), wanted)]
    assert_close(mesh.vertices.asnumpy()[order[0]], wanted[order[1]], 1e-5)
    ranks = [np.argsort(o) for o in order]
    assert triangles(ranks[0][mesh.faces]) == triangles(ranks[1][faces])


def triangles(faces):
    """Triples that begin with their smallest index."""
    turned = np.stack([np.roll(face, -int(np.argmin(face))) for face in faces])
    return set(map(tuple, turned.tolist()))


@pytest.mark.usefixtures("pynative")
def test_regularisers(surface, arrays):
    made = [surface.synthesizer.geometry(planes_of(arrays, index)) for index in (0, 1)]
    deviations = ops.concat([one.mesh(training=True).deviations for one in made])
    np.testing.assert_allclose(float(deviations.mean()), arrays["mesh_surface_reg"], rtol=1e-5)
    np.testing.assert_allclose(float(sign_regulariser([one.sdf for one in made])), arrays["mesh_sdf_bce"], rtol=1e-5)


@pytest.mark.usefixtures("pynative")
def test_views(surface, arrays):
    for index in (0, 1):
        planes = planes_of(arrays, index)
        mesh = surface.synthesizer.geometry(planes).mesh()
        cameras = (arrays["mesh_w2c"][index], FOV50, (24, 24))
        img, seen = surface.synthesizer.views(planes, mesh, *cameras, antialias=False)
        mask = arrays["mesh_render_mask"][index]
        assert np.array_equal(seen.mask.asnumpy(), mask)
        assert_close(seen.depth, arrays["mesh_render_depth"][index], 1e-4)
        assert_close(img, arrays["mesh_render_img"][index], 1e-4)


@pytest.mark.usefixtures("pynative")
def test_gradients_back_to_planes_and_heads(surface, arrays, gradients):
    """The published loss has the weights of all cubes in it: they are asked for beside the surface's."""
    synthesizer, corner = surface.synthesizer, np.arange(8)
    x, y, z = (axis.reshape(-1, 1) for axis in np.indices((12, 12, 12)))
    corners = ((x + (corner & 1)) * 13 + y + (corner >> 1 & 1)) * 13 + z + (corner >> 2)

    def loss(planes):
        made, all_weights, total = [], [], 0
        for index in (0, 1):
            one = planes[index : index + 1]
            made.append(synthesizer.geometry(one))
            features = synthesizer.decoder.features(build_table(one), Tensor(arrays["mesh_grid"]))
            all_weights.append(synthesizer.decoder.weights(features, corners))
        meshes = [one.mesh(training=True) for one in made]
        for mesh in meshes:
            total = total + (mesh.vertices**2).mean()
        total = total + 0.5 * ops.concat([mesh.deviations for mesh in meshes]).mean()
        total = total + 0.1 * (ops.stack(all_weights) ** 2).mean()
        return total + 0.01 * sign_regulariser([one.sdf for one in made])

    heads = [f"net_{name}" for name in ("sdf", "deformation", "weight")]
    named = {n: p for n, p in synthesizer.decoder.parameters_and_names() if n.split(".")[0] in heads}
    weights = ms.ParameterTuple(list(named.values()))
    value, (of_planes, of_heads) = ms.value_and_grad(loss, 0, weights)(Tensor(arrays["planes"]))
    np.testing.assert_allclose(float(value), float(arrays["mesh_loss"]), rtol=1e-5)
    found = {"planes": of_planes} | dict(zip(named, of_heads, strict=True))
    for name, gradient in found.items():
        wanted = gradients[f"mesh_grad/{name}"]
        assert np.linalg.norm(gradient.asnumpy() - wanted) <= 1e-4 * np.linalg.norm(wanted), name
