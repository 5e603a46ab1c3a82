"""The shared optimiser, as its only worker: the arithmetic and the saved state are AdamW's."""

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from openlrm.parallel import ALONE
from openlrm.training.optim import AdamW
from openlrm.training.sharded import ShardedAdamW

SHAPES = {"a.weight": (5, 3), "a.bias": (4,), "b.weight": (7, 2), "b.bias": (3,)}
OPTIONS = ((0.9, 0.95), 1e-8, 0.1)


def parameters(seed=0):
    random = np.random.default_rng(seed)
    return [Parameter(Tensor(random.standard_normal(s).astype(np.float32)), name=n) for n, s in SHAPES.items()]


def gradients(seed):
    return tuple(Tensor(p.asnumpy()) for p in parameters(seed))


def make(params, limit=16):
    optimizer = ShardedAdamW(params, *OPTIONS, ALONE, limit)
    optimizer.shards.gather = lambda share: share  # of one worker
    return optimizer


def assert_same(ours, theirs):
    """But for the last bit: the kernel works in lanes, and numbers lie at other places of a flat share."""
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("limit", [1, 16, 1000])
def test_steps_and_state_are_adamws(mode, limit):
    ours, theirs = parameters(), parameters()
    sharded, plain = make(ours, limit), AdamW(theirs, *OPTIONS)
    for step in range(3):
        for optimizer in (sharded, plain):
            optimizer.step(gradients(step + 1), 0.01, step)
    assert_same(ours, theirs)
    found, expected = sharded.state(), plain.state()
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("from_sharded", [True, False])
def test_a_state_goes_on_in_either(pynative, from_sharded):
    straight, first, second = parameters(), parameters(), parameters(7)
    kinds = [make, lambda params: AdamW(params, *OPTIONS)]
    reference, before, after = kinds[1](straight), kinds[1 - from_sharded](first), kinds[from_sharded](second)
    for step in range(2):
        for optimizer in (reference, before):
            optimizer.step(gradients(step), 0.01, step)
    for old, new in zip(first, second, strict=True):
        new.set_data(Tensor(old.asnumpy().copy()))
    after.load_state(before.state())
    for optimizer in (reference, after):
        optimizer.step(gradients(2), 0.01, 2)
    assert_same(second, straight)
