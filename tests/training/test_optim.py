"""AdamW, clipping and averages against numpy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from openlrm.training.ema import MovingAverage
from openlrm.training.optim import Accumulate, AdamW, GlobalNorm, Scale, clip_factor, decays

SHAPES = {"layer.weight": (5, 3), "layer.bias": (4,), "norm.weight": (4,), "table": (1, 2, 3)}


def parameters(seed=0):
    random = np.random.default_rng(seed)
    return [Parameter(Tensor(random.standard_normal(s).astype(np.float32)), name=n) for n, s in SHAPES.items()]


def gradients(seed):
    random = np.random.default_rng(seed)
    return tuple(Tensor((random.standard_normal(s) * 10.0**-seed).astype(np.float32)) for s in SHAPES.values())


def numpy_adamw(weights, all_gradients, rates, betas, eps, decay, decayed):
    """The paper's algorithm 2, in float64."""
    weights = [w.astype(np.float64) for w in weights]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for t, (grads, rate) in enumerate(zip(all_gradients, rates, strict=True), 1):
        for i, gradient in enumerate(grads):
            first[i] = betas[0] * first[i] + (1 - betas[0]) * gradient
            second[i] = betas[1] * second[i] + (1 - betas[1]) * gradient**2
            corrected = first[i] / (1 - betas[0] ** t) / (np.sqrt(second[i] / (1 - betas[1] ** t)) + eps)
            weights[i] -= rate * (corrected + decay * decayed[i] * weights[i])
    return weights


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_adamw_is_the_papers(mode, eps):
    params = parameters()
    optimizer = AdamW(params, (0.9, 0.95), eps, 0.05)
    start = [p.asnumpy().copy() for p in params]
    rates = [1e-2, 5e-3, 2e-2, 1e-3]
    steps = [gradients(seed) for seed in range(4)]
    for step, (grads, rate) in enumerate(zip(steps, rates, strict=True)):
        optimizer.step(grads, rate, step)
    decayed = [True, False, False, True]
    arrays = [[g.asnumpy() for g in grads] for grads in steps]
    expected = numpy_adamw(start, arrays, rates, (0.9, 0.95), eps, 0.05, decayed)
    for p, wanted in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.asnumpy(), wanted, rtol=2e-5, atol=2e-6)


def test_matrices_decay_and_nothing_else():
    assert [decays(p) for p in parameters()] == [True, False, False, True]
    layer_scale = Parameter(Tensor(np.ones((2, 2), np.float32)), name="ls1.gamma")
    assert not decays(layer_scale)


def test_state_carries_on_bit_for_bit(pynative):
    straight, halves = parameters(), parameters()
    one = AdamW(straight, (0.9, 0.95), 1e-8, 0.05)
    for step in range(6):
        one.step(gradients(step % 3), 1e-3, step)
    first = AdamW(halves, (0.9, 0.95), 1e-8, 0.05)
    for step in range(3):
        first.step(gradients(step % 3), 1e-3, step)
    second = AdamW(halves, (0.9, 0.95), 1e-8, 0.05)
    second.load_state(first.state())
    for step in range(3, 6):
        second.step(gradients(step % 3), 1e-3, step)
    for a, b in zip(straight, halves, strict=True):
        assert np.array_equal(a.asnumpy(), b.asnumpy())


def test_global_norm_is_of_all_together(mode):
    grads = gradients(0)
    flat = np.concatenate([g.asnumpy().ravel() for g in grads])
    assert float(GlobalNorm()(grads).asnumpy()) == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    spoiled = (*grads[:2], Tensor(np.array([1, np.nan, 0, 0], np.float32)), grads[3])
    assert not np.isfinite(GlobalNorm()(spoiled).asnumpy())


def test_clipping_limits_and_never_enlarges(mode):
    grads = gradients(0)
    norm = float(GlobalNorm()(grads).asnumpy())
    clipped = Scale()(grads, Tensor(clip_factor(norm, 0.5), ms.float32))
    assert float(GlobalNorm()(clipped).asnumpy()) == pytest.approx(0.5, rel=1e-5)
    assert clip_factor(0.3, 0.5) == 1.0
    assert clip_factor(0.0, 0.5) == 1.0


def test_accumulated_gradients_are_the_sum(mode):
    sums = Accumulate(parameters())
    sums(gradients(0))
    sums(gradients(1))
    for total, a, b in zip(sums.take(), gradients(0), gradients(1), strict=True):
        np.testing.assert_array_equal(total.asnumpy(), a.asnumpy() + b.asnumpy())
    sums.clear()
    assert all((total.asnumpy() == 0).all() for total in sums.take())


def test_moving_average_follows_the_formula(mode):
    params = parameters()
    average = MovingAverage(params, 0.5)
    expected = [p.asnumpy().copy() for p in params]
    for step in range(5):
        for p in params:
            p.set_data(p + 1)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * p.asnumpy() for e, p in zip(expected, params, strict=True)]
    for p, wanted in zip(params, expected, strict=True):
        np.testing.assert_allclose(average.state()[f"ema.{p.name}"], wanted, rtol=1e-5)
