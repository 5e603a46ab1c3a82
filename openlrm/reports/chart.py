"""Line charts as SVG, drawn by hand: nothing to install, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlrm.reports.markup import text

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 44, 36
# Okabe and Ito's colours, told apart by the colour-blind as well; dashes tell them apart in print.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MOST_POINTS = 400
_TICKS = 6


@dataclass(frozen=True)
class Curve:
    """Points of one line.

    Attributes:
        name: in the legend.
        x: ascending.
        y: of the same length; what is not finite leaves a gap.
        colour: number of its colour.
        dashed: whether its line is broken.
        spread: half the height of a bar at every point; None for no bars.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dashed: bool = False
    spread: Sequence[float] | None = None


def line_chart(
    title: str, curves: Sequence[Curve], x_label: str = "step", log: bool = False, x_step: float = 1.0
) -> str:
    """Draw curves over one axis.

    Long ones are thinned to means of neighbouring points.

    Args:
        title: above it, with the unit.
        curves: at least one point among them, or the chart says that there is none.
        x_label: below it.
        log: logarithmic y axis; values that are not positive are left out.
        x_step: least distance of labels on the x axis.
    """
    drawn = [_prepare(curve, log) for curve in curves]
    drawn = [(curve, x, y) for curve, x, y in drawn if np.isfinite(y).any()]
    head = f'<text x="{_LEFT}" y="15" font-size="13" font-weight="bold">{text(title)}</text>'
    if not drawn:
        return _svg(head + f'<text x="{_LEFT}" y="60" fill="#555">no values</text>', title)
    x_axis = _Axis(min(x.min() for _, x, _ in drawn), max(x.max() for _, x, _ in drawn), _LEFT, _WIDTH - _RIGHT)
    low, high = min(_reach(c, y, -1, log) for c, _, y in drawn), max(_reach(c, y, 1, log) for c, _, y in drawn)
    y_axis = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP, log, margin=0.05)
    parts = [head, _legend([curve for curve, *_ in drawn]), _grid(x_axis, y_axis, x_label, x_step)]
    parts += [_polylines(curve, x_axis.place(x), y_axis.place(y)) for curve, x, y in drawn]
    parts += [_bars(curve, x, y, x_axis, y_axis) for curve, x, y in drawn if curve.spread is not None]
    return _svg("".join(parts), title)


class _Axis:
    """Values on a line of pixels, `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False, margin: float = 0.0):
        self.log = log
        low, high = (math.log10(low), math.log10(high)) if log else (low, high)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        room = margin * (high - low)
        self.low, self.high, self.start, self.end = low - room, high + room, start, end

    def place(self, values: np.ndarray | float) -> np.ndarray:
        scaled = np.log10(values) if self.log else np.asarray(values, float)
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, least: float = 0.0) -> list[float]:
        """Return round values, not closer than `least`."""
        if self.log and self.high - self.low >= 1:
            step = math.ceil((self.high - self.low) / _TICKS)
            return [10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1, step)]
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        step = max(nice_step((high - low) / _TICKS), least)
        return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def nice_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _prepare(curve: Curve, log: bool) -> tuple[Curve, np.ndarray, np.ndarray]:
    x, y = np.asarray(curve.x, float), np.array(curve.y, float)
    y[~np.isfinite(y) | ((y <= 0) if log else False)] = np.nan
    if len(x) > _MOST_POINTS:
        bins = np.array_split(np.arange(len(x)), _MOST_POINTS)
        x = np.array([x[group].mean() for group in bins])
        y = np.array([_mean(y[group]) for group in bins])
    return curve, x, y


def _reach(curve: Curve, y: np.ndarray, side: int, log: bool) -> float:
    """Least (side -1) or greatest (1) value of a curve with its bars."""
    ends = [y]
    if curve.spread is not None and len(curve.spread) == len(y):
        ends.append(y + side * np.nan_to_num(np.asarray(curve.spread, float)))
    values = np.concatenate(ends)
    values = values[np.isfinite(values) & ((values > 0) if log else True)]
    return float(values.min() if side < 0 else values.max())


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return known.mean() if len(known) else math.nan


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, x_step: float) -> str:
    parts = []
    for value in y_axis.ticks():
        y = float(y_axis.place(value))
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in x_axis.ticks(least=x_step):
        x = float(x_axis.place(value))
        parts.append(f'<path d="M{x:.1f} {_HEIGHT - _BOTTOM}v4" stroke="#888"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{value:.6g}</text>')
    parts.append(f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="#888"/>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 5}" text-anchor="end" fill="#555">{text(x_label)}</text>')
    return "".join(parts)


def _legend(curves: Sequence[Curve]) -> str:
    parts, left = [], _LEFT
    for curve in curves:
        parts.append(
            f'<path d="M{left} 30h18" {_stroke(curve)}/><text x="{left + 22}" y="34">{text(curve.name)}</text>'
        )
        left += 36 + 6.5 * len(curve.name)
    return "".join(parts)


def _polylines(curve: Curve, x: np.ndarray, y: np.ndarray) -> str:
    finite = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(int)))
    parts = []
    for first, end in edges.reshape(-1, 2):
        points = [f"{a:.1f},{b:.1f}" for a, b in zip(x[first:end], y[first:end], strict=True)]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" {_stroke(curve)}/>')
    if finite.sum() <= 40:
        colour = _COLOURS[curve.colour % len(_COLOURS)]
        dots = zip(x[finite], y[finite], strict=True)
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2" fill="{colour}"/>' for a, b in dots]
    return "".join(parts)


def _bars(curve: Curve, x: np.ndarray, y: np.ndarray, x_axis: _Axis, y_axis: _Axis) -> str:
    """Bars of `spread`; of points that were not thinned."""
    spread = np.asarray(curve.spread, float)
    if len(spread) != len(y):
        return ""
    parts = []
    for at, value, half in zip(x_axis.place(x), y, spread, strict=True):
        if np.isfinite(value + half) and not (y_axis.log and value <= half):
            low, high = (float(y_axis.place(value + side * half)) for side in (-1, 1))
            parts.append(f'<path d="M{at:.1f} {low:.1f}V{high:.1f}M{at - 3:.1f} {low:.1f}h6M{at - 3:.1f} {high:.1f}h6" '
                         f'fill="none" stroke="{_COLOURS[curve.colour % len(_COLOURS)]}"/>')  # fmt: skip
    return "".join(parts)


def _stroke(curve: Curve) -> str:
    dashes = ' stroke-dasharray="6 3"' if curve.dashed else ""
    return f'stroke="{_COLOURS[curve.colour % len(_COLOURS)]}" stroke-width="1.6"{dashes}'


def _svg(content: str, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}" font-size="11" '
        f'font-family="system-ui, sans-serif" xmlns="http://www.w3.org/2000/svg">{content}</svg>'
    )
