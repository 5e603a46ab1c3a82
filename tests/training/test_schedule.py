"""Learning rate and loss weights over the steps."""

import numpy as np
import pytest

from openlrm.training.config import ImageLossConfig, SchedulerConfig
from openlrm.training.schedule import learning_rate, perceptual_weight


def rates(total, **options):
    config = SchedulerConfig(**options)
    return np.array([learning_rate(step, total, 4e-4, config) for step in range(total)])


def test_warm_up_is_a_straight_line_that_starts_above_zero():
    rise = rates(100, warmup_steps=10)[:10]
    np.testing.assert_allclose(rise, 4e-4 * np.arange(1, 11) / 10)


def test_cosine_starts_at_the_top_and_ends_at_the_end_rate():
    course = rates(101, warmup_steps=0, end_learning_rate=1e-5)
    assert course[0] == 4e-4
    assert course[-1] == pytest.approx(1e-5)
    assert course[50] == pytest.approx((4e-4 + 1e-5) / 2)  # halfway of half a cosine
    assert (np.diff(course) < 0).all()


def test_linear_has_equal_steps():
    course = rates(50, scheduler="linear", warmup_steps=0, end_learning_rate=0.0)
    np.testing.assert_allclose(np.diff(course), -4e-4 / 49)


def test_constant_stays():
    assert set(rates(20, scheduler="constant", warmup_steps=5)[5:]) == {4e-4}


def test_warm_up_longer_than_the_run_keeps_rising():
    assert (np.diff(rates(20, warmup_steps=3000)) > 0).all()


def test_steps_past_the_end_keep_the_last_rate():
    config = SchedulerConfig(warmup_steps=2, end_learning_rate=1e-6)
    assert learning_rate(1000, 10, 1e-3, config) == pytest.approx(1e-6)


def test_perceptual_weight_waits_rises_and_stays():
    config = ImageLossConfig(perceptual_weight=2.0, perceptual_start=3, perceptual_warmup=3)
    assert [perceptual_weight(step, config) for step in range(8)] == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert perceptual_weight(0, ImageLossConfig()) == 1.0
