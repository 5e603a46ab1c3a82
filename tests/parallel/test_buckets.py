"""Flat buckets and the shares of workers, without any communication."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from openlrm.parallel.buckets import GradientSum, Shards, make_buckets

SHAPES = {"a.weight": (5, 3), "a.bias": (4,), "b.weight": (7, 2), "b.bias": (3,), "scale": ()}


@pytest.fixture
def parameters():
    random = np.random.default_rng(1)
    return [Parameter(Tensor(random.standard_normal(s), ms.float32), name=n) for n, s in SHAPES.items()]


def test_buckets_hold_every_parameter_once_in_order_up_to_the_limit():
    buckets = make_buckets([3, 4, 10, 2, 2, 7], limit=8)
    assert [b.indices for b in buckets] == [(0, 1), (2,), (3, 4), (5,)]
    assert [b.size for b in buckets] == [7, 10, 4, 7]


def test_buckets_are_of_one_kind():
    buckets = make_buckets([3, 4, 1, 2], [True, False, True, False], limit=100)
    assert [(b.indices, b.sizes, b.kind) for b in buckets] == [((1, 3), (4, 2), False), ((0, 2), (3, 1), True)]


@pytest.mark.parametrize("limit", [1, 16, 1000])
def test_sum_of_gradients_gives_each_its_place(mode, parameters, limit):
    """A stand-in for the sum over two workers that hold the same."""
    total = GradientSum(parameters, limit)
    total.reduce = lambda flat: flat + flat
    for parameter, doubled in zip(parameters, total(tuple(p.value() for p in parameters)), strict=True):
        np.testing.assert_array_equal(doubled.asnumpy(), 2 * parameter.asnumpy())


@pytest.mark.parametrize("limit", [1, 16, 1000])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_put_together_are_the_whole(mode, parameters, limit, size):
    buckets = make_buckets([p.size for p in parameters], [p.ndim > 1 for p in parameters], limit)
    workers = [Shards(parameters, buckets, rank, size) for rank in range(size)]
    shares = [worker(tuple(p.value() for p in parameters)) for worker in workers]
    found = {}
    for number in range(len(buckets)):
        gathered = ms.ops.concat([share[number] for share in shares])
        assert len({share[number].shape for share in shares}) == 1
        for worker in workers:
            worker.gather = lambda _, gathered=gathered: gathered
            found |= worker.put_together(number, shares[0][number])
    assert sorted(found) == list(range(len(parameters)))
    for i, parameter in enumerate(parameters):
        np.testing.assert_array_equal(found[i].asnumpy(), parameter.asnumpy())
