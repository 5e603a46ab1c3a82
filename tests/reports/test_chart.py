import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from openlrm.reports.chart import Curve, line_chart, nice_step


def points(svg):
    """Corners of every line in the drawing, line by line."""
    return [
        np.array([tuple(map(float, pair.split(","))) for pair in line.split()])
        for line in re.findall(r'<polyline points="([^"]+)"', svg)
    ]


def ticks(svg, side):
    """(value, position) of the numbers along an axis; `side` is the text's anchor."""
    place = {"end": "y", "middle": "x"}[side]
    found = []
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if element.get("text-anchor") == side and element.get("fill") is None:
            found.append((float(element.text), float(element.get(place))))
    return found


@pytest.mark.parametrize(("step", "nice"), [(1, 1), (1.1, 2), (0.03, 0.05), (0.02, 0.02), (7, 10), (230, 500)])
def test_nice_step(step, nice):
    assert nice_step(step) == pytest.approx(nice)


@pytest.mark.parametrize("log", [False, True])
def test_points_lie_where_the_axes_say(log):
    x, y = [0, 40, 100], [0.5, 20, 3000]
    (line,) = points(line_chart("loss", [Curve("a", x, y)], log=log))
    for values, column, side, offset in ((x, 0, "middle", 0), (np.log(y) if log else y, 1, "end", 4)):
        marks = np.array(ticks(line_chart("loss", [Curve("a", x, y)], log=log), side))
        at = np.log(marks[:, 0]) if log and column else marks[:, 0]
        slope, start = np.polyfit(at, marks[:, 1] - offset, 1)
        np.testing.assert_allclose(line[:, column], start + slope * np.array(values, float), atol=0.15)
    assert line[0, 1] > line[2, 1], "large values are above small ones"


def test_what_is_not_finite_leaves_a_gap():
    y = [1, 2, float("nan"), 4, 5, float("inf")]
    assert [len(line) for line in points(line_chart("t", [Curve("a", range(6), y)]))] == [2, 2]
    assert [len(line) for line in points(line_chart("t", [Curve("a", range(3), [1, -1, 0])], log=True))] == [1]


def test_long_curves_are_thinned_to_means():
    y = np.tile([0.0, 2.0], 4000)  # 20 to a mean
    (line,) = points(line_chart("t", [Curve("a", range(8000), y), Curve("b", [0, 7999], [0, 2])]))[:1]
    assert len(line) == 400
    assert np.ptp(line[:, 1]) <= 0.2
    assert (np.diff(line[:, 0]) > 0).all()


@pytest.mark.parametrize("curve", [Curve("a", [], []), Curve("a", [1], [float("nan")])])
def test_nothing_to_draw(curve):
    svg = line_chart("loss", [curve])
    assert "no values" in svg
    ElementTree.fromstring(svg)


@pytest.mark.parametrize("y", [[3.0, 3.0], [0.0, 0.0], [-2.0, -2.0], [3.0]])
def test_a_constant_has_an_axis(y):
    for log in (False, True):
        svg = line_chart("t", [Curve("a", range(len(y)), y)], log=log)
        if y[0] > 0 or not log:
            (line,) = points(svg)
            assert np.isfinite(line).all()
            assert (line[:, 1] > 0).all()
            assert (line[:, 1] < 260).all()


def test_names_are_escaped_and_curves_told_apart():
    svg = line_chart("<b>", [Curve("x<y", [0, 1], [0, 1]), Curve("z", [0, 1], [1, 0], 1, dashed=True)])
    assert "<b>" not in svg
    strokes = re.findall(r'<polyline [^>]*stroke="(#\w+)"[^>]*?(stroke-dasharray)?', svg)
    assert len({colour for colour, _ in strokes}) == 2
    assert svg.count("stroke-dasharray") == 2, "the line and its mark in the legend"


def test_steps_are_whole_numbers():
    svg = line_chart("t", [Curve("a", [1, 2, 3], [0.1, 0.2, 0.3])])
    assert [value for value, _ in ticks(svg, "middle")] == [1, 2, 3]
