"""Sorting and searching along rays against numpy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.ops import searchsorted_right, sort_by_depth, take_along_rays


@pytest.mark.parametrize("samples", [1, 2, 24, 96])
def test_sort_by_depth(mode, samples):
    depths = np.random.default_rng(0).uniform(0.3, 4, size=(50, samples)).astype(np.float32)
    depths[3] = 2.5
    depths[4] = np.sort(depths[4])
    depths[5] = -np.sort(-depths[5])
    values, order = (x.asnumpy() for x in sort_by_depth(Tensor(depths)))
    assert np.array_equal(values, np.sort(depths, axis=1))
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(samples), (50, 1))), "each sample once"
    assert np.array_equal(np.take_along_axis(depths, order, axis=1), values)


def test_take_along_rays(mode):
    rng = np.random.default_rng(1)
    values, order = rng.normal(size=(6, 5, 3)).astype(np.float32), rng.integers(0, 5, size=(6, 8)).astype(np.int32)
    taken = take_along_rays(Tensor(values), Tensor(order)).asnumpy()
    assert np.array_equal(taken, np.take_along_axis(values, order[..., None], axis=1))


class Weighted(nn.Cell):
    """A number that depends on all that was taken."""

    def construct(self, values, order, weight):
        return (take_along_rays(values, order) * weight).sum()


def test_gradient_goes_back_where_it_was_taken(mode):
    rng = np.random.default_rng(2)
    values, order = rng.normal(size=(6, 5, 3)).astype(np.float32), rng.integers(0, 5, size=(6, 8)).astype(np.int32)
    weight = rng.normal(size=(6, 8, 3)).astype(np.float32)
    expected = np.zeros_like(values)
    for ray in range(6):
        np.add.at(expected[ray], order[ray], weight[ray])
    gradient = ms.grad(Weighted(), 0)(Tensor(values), Tensor(order), Tensor(weight)).asnumpy()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)


def test_searchsorted_right(mode):
    """With entries that repeat, and queries on them, before all and after all."""
    rng = np.random.default_rng(3)
    entries = np.sort(rng.integers(0, 12, size=(20, 9)) / 8, axis=1).astype(np.float32)
    queries = np.concatenate([rng.integers(0, 12, size=(20, 30)) / 8, np.tile([-1.0, 0.0, 1.5, 9.0], (20, 1))], axis=1)
    queries = queries.astype(np.float32)
    found = searchsorted_right(Tensor(entries), Tensor(queries)).asnumpy()
    assert found.dtype == np.int32
    assert np.array_equal(found, [np.searchsorted(e, q, side="right") for e, q in zip(entries, queries, strict=True)])
