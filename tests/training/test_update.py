"""A step: accumulation, clipping, skipping, scaling."""

import dataclasses

import numpy as np
import pytest

from openlrm.ops import setup_device
from openlrm.training.config import OptimConfig, PrecisionConfig, SchedulerConfig, TrainConfig
from openlrm.training.update import Update


@pytest.fixture
def targets(toy):
    return toy.targets


@pytest.fixture
def update(toy):
    return lambda **options: make_update(toy, **options)


def make_update(toy, **options):
    defaults = {
        "optim": OptimConfig(start_learning_rate=0.1, weight_decay=0.0),
        "scheduler": SchedulerConfig(scheduler="constant", warmup_steps=0),
    }
    return Update(toy.Task(toy.Model()), TrainConfig(**defaults | options), total=10)


def weight(run):
    return run.task.model.weight.asnumpy().copy()


def test_accumulated_batches_are_one_large_batch(update, targets):
    # The loss is quadratic: the mean gradient of two targets is that of their mean.
    two, one = update(gradient_accumulation_steps=2), update()
    for step in range(3):
        report = two(targets(1.0, 3.0), step)
        single = one(targets(2.0), step)
        assert report.norm == pytest.approx(single.norm, rel=1e-6)
    np.testing.assert_allclose(weight(two), weight(one), rtol=1e-6)


def test_reported_norm_is_the_gradients_own(update, targets):
    report = update()(targets(0.0), 0)
    gradient = 2 * np.array([1.0, -2.0, 0.5]) / 3
    assert report.norm == pytest.approx(np.linalg.norm(gradient))
    assert report.parts["loss"] == pytest.approx((1 + 4 + 0.25) / 3)


def test_clipping_does_what_a_smaller_gradient_would(update, targets):
    clipped = update(optim=OptimConfig(start_learning_rate=0.1, eps=1.0, weight_decay=0.0, max_grad_norm=0.5))
    free = update(optim=OptimConfig(start_learning_rate=0.1, eps=1.0, weight_decay=0.0, clip_grad=False))
    start = weight(free)
    norm = clipped(targets(0.0), 0).norm
    # One step of Adam: g / (|g| + eps), with the gradient scaled to norm 0.5.
    gradient = 2 * start / 3 * 0.5 / norm
    np.testing.assert_allclose(weight(clipped), start - 0.1 * gradient / (np.abs(gradient) + 1), rtol=1e-5)
    free(targets(0.0), 0)
    assert not np.allclose(weight(clipped), weight(free))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_step_changes_nothing(update, targets, bad):
    run = update(use_ema=True)
    run(targets(1.0), 0)
    before = run.state() | {"weight": weight(run)}
    report = run(targets(bad), 1)
    assert not report.applied
    assert not report.overflow
    after = run.state() | {"weight": weight(run)}
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, name)


def test_loss_scale_leaves_the_step_as_it_is(update, targets):
    half = PrecisionConfig(amp_level="O2", dtype="fp16", init_loss_scale=1024.0)
    scaled, plain = update(precision=half), update()
    reports = scaled(targets(0.0), 0), plain(targets(0.0), 0)
    assert reports[0].norm == pytest.approx(reports[1].norm)
    np.testing.assert_allclose(weight(scaled), weight(plain), rtol=1e-6)


def test_overflow_lowers_the_scale_and_is_no_fault(update, targets):
    run = update(precision=PrecisionConfig(amp_level="O2", dtype="fp16", init_loss_scale=1024.0))
    gradient = run.task.gradient

    def overflowing(*arguments):
        result = gradient(*arguments)
        return dataclasses.replace(result, gradients=(result.gradients[0] * float("inf"),))

    run.task.gradient = overflowing
    report = run(targets(0.0), 0)
    assert report.overflow
    assert not report.applied
    assert run.scaler.scale == 512.0


def test_state_goes_on_bit_for_bit(update, targets):
    options = {"use_ema": True, "gradient_accumulation_steps": 2}
    straight, first = update(**options), update(**options)
    batches = [targets(float(i), -float(i)) for i in range(6)]
    for step, pair in enumerate(batches):
        straight(pair, step)
    for step, pair in enumerate(batches[:3]):
        first(pair, step)
    second = update(**options)
    second.task.model.weight.set_data(first.task.model.weight)
    second.load_state(first.state())
    for step, pair in enumerate(batches[3:], 3):
        second(pair, step)
    np.testing.assert_array_equal(weight(second), weight(straight))
    for name, value in straight.state().items():
        np.testing.assert_array_equal(second.state()[name], value, name)


def test_graph_mode_compiles_once(update, targets):
    setup_device("CPU", 0)
    try:
        run = update(gradient_accumulation_steps=2, optim=OptimConfig(start_learning_rate=0.1, max_grad_norm=0.1))
        for step in range(3):
            run(targets(float(step), 2.0), step)
    finally:
        setup_device("CPU", 1)
    cells = (run.sums, run.norm, run.scale, run.optimizer)
    assert [len(cell.compile_cache) for cell in cells] == [1, 1, 1, 1]
