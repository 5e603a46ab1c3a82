"""Verdicts by fixed rules, and the pieces of the page that are new with them."""

import re

import numpy as np
import pytest

from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.reports.findings import FAILS, HOLDS, MISSING, OPEN, Check, findings


@pytest.mark.parametrize(
    ("values", "above", "verdict"),
    [
        ([3.0, 3.1, 2.9], True, HOLDS),
        ([1.0, 1.1, 0.9], True, FAILS),
        ([1.0, 1.1, 0.9], False, HOLDS),
        ([1.0, 3.0, 2.1], True, OPEN),
        ([9.0], True, OPEN),
        ([], True, MISSING),
    ],
)
def test_the_interval_decides(values, above, verdict):
    assert Check("x", values, 2.0, above).verdict == verdict


def results(experiment, *figures):
    return {experiment: {f"object{i}": {"figures": entry} for i, entry in enumerate(figures)}}


def verdict(number, found, tuned=()):
    (row,) = [row for row in findings(found, tuned) if row.number == number]
    return row.verdict


def test_all_conditions_of_a_rule_have_to_hold():
    def basins(noise, near):
        return {"basins": {"pred,rand": {"correlation": noise}, "pred,predinit": {"correlation": near}}}

    unrelated = [basins(0.01, 0.9), basins(0.02, 0.91), basins(0.0, 0.92)]
    related = [basins(0.4, 0.9), basins(0.41, 0.91), basins(0.42, 0.92)]
    assert verdict(1, results("oracle", *unrelated)) == HOLDS
    assert verdict(1, results("oracle", *related)) == FAILS
    assert verdict(1, {}) == MISSING and len(findings({})) == 12


def test_a_share_below_white_noise_is_not_high_frequency():
    entry = {"share": [0.2, 0.2, 0.5, 0.1], "share_magnitude": [0.1, 0.2, 0.6, 0.1], "density": [10, 2, 0.8, 0.5]}
    found = [{"consistent": entry | {"density": [10, 2, 0.8 + shift, 0.5]}} for shift in (0.0, 0.01, 0.02)]
    assert verdict(2, results("spectrum", *found)) == FAILS


def test_rules_of_fine_tuning():
    pair = {"l1": {"wins": 3, "losses": 0, "ties": 0}}
    ranks = {"paired": {"r4": pair}, "best_rank": {"rank": 4, "verdict": "rank 4 is best in l1"}}
    assert verdict(10, {}, [ranks]) == HOLDS and verdict(11, {}, [ranks]) == HOLDS
    mixed = {"l1": {"wins": 2, "losses": 1, "ties": 0}}
    undecided = {"paired": {"r4": mixed}, "best_rank": {"rank": None, "verdict": "no rank"}}
    assert verdict(10, {}, [undecided]) == OPEN and verdict(11, {}, [undecided]) == OPEN
    lora, full = {"lora_freq": {"degraded": []}}, {"full_freq": {"degraded": ["stairs"]}}
    assert verdict(12, {}, [lora, full]) == HOLDS
    assert verdict(12, {}, [{"lora_freq": {"degraded": ["mug"]}}, full]) == FAILS
    assert verdict(12, {}, [lora]) == MISSING and verdict(10, {}, [lora]) == OPEN and verdict(10, {}) == MISSING


def test_error_bars_are_inside_the_chart():
    chart = line_chart("H", [Curve("a", [0.1, 0.2], [1.0, 2.0], spread=[0.5, 0.25])], x_step=0.1)
    plain = line_chart("H", [Curve("a", [0.1, 0.2], [1.0, 2.0])], x_step=0.1)
    assert chart.count("h6M") == 2 and "h6M" not in plain
    ends = re.findall(r'd="M[\d.]+ ([\d.]+)V([\d.]+)M', chart)
    heights = [float(height) for pair in ends for height in pair]
    assert len(heights) == 4 and min(heights) >= 44 and max(heights) <= 224


def test_heat_maps_share_a_scale_and_lightness_rises():
    shades = markup._coloured(np.linspace(0, 1, 20)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(shades) > 0).all()
    page = markup.heat_maps([np.zeros((4, 4)), np.full((4, 4), 2.0)], 100, "<maps>")
    assert "&lt;maps&gt;; the lightest is 2" in page and "data:image/jpeg" in page
