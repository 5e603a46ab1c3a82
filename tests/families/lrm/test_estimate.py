"""Estimates against what was measured (docs/training.md)."""

from types import SimpleNamespace

import pytest

from openlrm.families.lrm import LRMConfig
from openlrm.families.lrm.estimate import estimate_memory
from openlrm.training.estimate import peak_memory

SMALL = LRMConfig(1024, 96, 512, 12, 8, 32, 64, 32, False, "dinov2", "dinov2_vits14_reg", 384)
GIB = 2**30


def estimate(side=64, recompute=False, deferred=False, objects=1):
    parameters = [SimpleNamespace(size=110_000_000)]
    return estimate_memory(SMALL, 110_000_000, parameters, objects, 4 * side**2, 1, recompute, deferred).total / GIB


def test_small_model_is_near_its_measured_peaks():
    assert estimate() == pytest.approx(11.6, rel=0.15)
    assert estimate(32, deferred=True) == pytest.approx(4.5, rel=0.15)
    assert estimate(32, recompute=True, deferred=True) == pytest.approx(2.65, rel=0.2)


def test_a_second_object_costs_what_the_first_one_did():
    assert estimate(objects=3) - estimate(objects=2) == pytest.approx(estimate(objects=2) - estimate())


def test_peak_is_in_gib():
    assert 0.05 < peak_memory() < 100
