"""The figures of results: what they are called, their unit, and which way they get better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A figure.

    Attributes:
        key: its name in files.
        name: its name in words.
        digits: shown behind the point.
        more_is_better: whether a greater value is a better one.
        unit: such as dB; empty for a ratio.
    """

    key: str
    name: str
    digits: int
    more_is_better: bool
    unit: str = ""

    @property
    def title(self) -> str:
        """Name and unit, for the head of a table."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def show(self, value: float | None, sign: bool = False) -> str | None:
        """Return the value with its digits, or None."""
        return None if value is None else f"{value:{'+' if sign else ''}.{self.digits}f}"

    def tell(self, value: float) -> str:
        """Return name, value and unit, as a sentence has them."""
        return f"{self.name} {self.show(value)}" + (f" {self.unit}" if self.unit else "")

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; nothing is better than a NaN that is not one."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a > b if self.more_is_better else a < b

    def best(self, values: Sequence[float]) -> int:
        """Return the index of the best of some values, the first of equal ones."""
        found = 0
        for index, value in enumerate(values):
            if self.better(value, values[found]):
                found = index
        return found


IMAGE_METRICS = (
    Metric("psnr", "PSNR", 2, more_is_better=True, unit="dB"),
    Metric("psnr_object", "PSNR of the object", 2, more_is_better=True, unit="dB"),
    Metric("ssim", "SSIM", 4, more_is_better=True),
    Metric("lpips", "LPIPS", 4, more_is_better=False),
    Metric("mask_iou", "mask IoU", 4, more_is_better=True),
)
"""Figures of a view, and their means."""

PSNR = IMAGE_METRICS[0]
CHAMFER = Metric("chamfer", "Chamfer", 4, more_is_better=False)
MESH_METRICS = (
    CHAMFER,
    Metric("accuracy", "accuracy", 4, more_is_better=False),
    Metric("completeness", "completeness", 4, more_is_better=False),
)
"""Distances of meshes fitted to [-1, 1]^3; F-scores, one for each threshold, come with them."""

LOSS = Metric("loss", "loss", 5, more_is_better=False)

_F_SCORE = "f_score_"


def metrics_among(keys: Iterable[str]) -> list[Metric]:
    """Return the metrics that some keys of a file stand for, in the order of the table, F-scores last."""
    keys = list(keys)
    f_scores = [
        Metric(key, f"F-score at {key.removeprefix(_F_SCORE)}", 4, more_is_better=True)
        for key in keys
        if key.startswith(_F_SCORE)
    ]
    return [metric for metric in (*IMAGE_METRICS, *MESH_METRICS) if metric.key in keys] + f_scores
