"""Grids of distances: points, the guard against empty shapes, the regulariser."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.errors import UserError
from openlrm.geometry import displace, flexicubes, grid_points, guard_surface, require_surface, sign_regulariser
from openlrm.geometry.shapes import ball


def test_golden_grid(surface_golden):
    points = grid_points((12, 12, 12), 2.1)
    np.testing.assert_allclose(points.reshape(-1, 3), surface_golden["mesh_grid"], atol=1e-6)


def test_points_move_less_than_a_quarter_of_a_unit_over_r():
    points = Tensor(np.zeros((9, 9, 9, 3), np.float32))
    moved = displace(points, Tensor(np.full(points.shape, 50.0, np.float32))).asnumpy()
    np.testing.assert_allclose(moved, 1 / 32)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_empty_grid_gets_a_surface_inside_and_a_loss(sign):
    points = Tensor(grid_points((8, 8, 8), 2.0).copy())
    sdf = Tensor(sign * np.random.default_rng(0).uniform(0.5, 3, (9, 9, 9)).astype(np.float32))

    def penalty(s):
        return guard_surface(s, points)[2]

    guarded, kept, loss, empty = guard_surface(sdf, points)
    values = guarded.asnumpy()
    assert empty and float(loss) == pytest.approx(np.abs(sdf.asnumpy()).mean())
    assert values[5, 5, 5] < 0 and (values[:2] > 0).all() and (values[:, :, -2:] > 0).all()
    assert len(flexicubes(guarded, points=kept).faces) > 0
    # Descending leads to the other sign.
    np.testing.assert_allclose(ms.grad(penalty)(sdf).asnumpy(), sign / 9**3, rtol=1e-5)


def test_signs_on_the_border_are_no_surface():
    sdf = np.ones((6, 6, 6), np.float32)
    sdf[0] = -1
    assert guard_surface(Tensor(sdf), Tensor(np.zeros((6, 6, 6, 3), np.float32)))[3]
    with pytest.raises(UserError, match="-1 to 1"):
        require_surface(sdf)


def test_a_grid_with_a_surface_is_left_alone():
    points = Tensor(grid_points((8, 8, 8), 2.0).copy())
    sdf = Tensor(ball(0.5)(points.asnumpy()).astype(np.float32))
    require_surface(sdf.asnumpy())
    guarded, kept, loss, empty = guard_surface(sdf, points)
    assert guarded is sdf and kept is points and float(loss) == 0 and not empty


def test_regulariser_of_one_edge_by_hand():
    sdf = np.full((2, 2, 2), 2.0)
    sdf[0, 0, 0] = -1.0
    # Three edges from one corner: each draws -1 to the outside and 2 to the inside.
    expected = np.log1p(np.exp(1.0)) + np.log1p(np.exp(2.0))
    assert float(sign_regulariser([Tensor(sdf)])) == pytest.approx(expected)


def test_regulariser_counts_zero_as_another_sign_and_averages_over_the_batch():
    rng = np.random.default_rng(0)
    grids = [np.round(rng.normal(size=(3, 4, 5)), 0), np.ones((3, 3, 3)), rng.normal(size=(2, 2, 2))]
    terms = []
    for grid in grids:
        for axis in range(3):
            a, b = (np.take(grid, range(k, grid.shape[axis] - 1 + k), axis) for k in (0, 1))
            for s, t in zip(a[np.sign(a) != np.sign(b)], b[np.sign(a) != np.sign(b)], strict=True):
                terms.append(np.logaddexp(0, s) - s * (t > 0) + np.logaddexp(0, t) - t * (s > 0))
    assert float(sign_regulariser([Tensor(grid) for grid in grids])) == pytest.approx(np.mean(terms))


def test_regulariser_without_crossing_edges_is_zero():
    assert float(sign_regulariser([Tensor(np.ones((3, 3, 3)))])) == 0
