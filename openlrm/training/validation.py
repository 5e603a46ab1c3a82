"""Validation: fixed views of fixed objects on white, measured as evaluation does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets import ValidationItems
from openlrm.metrics import psnr, ssim
from openlrm.metrics.ssim import WINDOW
from openlrm.representations.base import Representation

Reconstruct = Callable[[np.ndarray, Camera], Representation]
"""(pictures (K, H, W, 4), cameras (K,)) -> what the model makes of them."""


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    Attributes:
        scalars: psnr, psnr_object (over the object's pixels alone) and ssim, means over objects; the input views do
            not count unless there are no others.
        sheet: (H, W, 3) picture, a pair of rows an object: the truth above the renders.
        kind: what the objects are called, `openlrm.reports.results.HELD_OUT` or another.
        measured: names their number, size and views: figures of another text are not comparable.
    """

    scalars: dict[str, float]
    sheet: np.ndarray
    kind: str
    measured: str


class Validator:
    """Measures a model on fixed views.

    Args:
        items: the objects, with their views set.
        objects: how many of them are looked at.
        size: side in pixels that views are rendered at.
        kind: what is said of them, `openlrm.reports.results.HELD_OUT` or another; never checked here.
        sources: how many of the views, from the first on, the model is given.
    """

    def __init__(self, items: ValidationItems, objects: int, size: int, kind: str, sources: int = 1):
        self.items, self.size, self.kind, self.sources = items, size, kind, sources
        self.uids = items.uids[:objects]
        digest = hashlib.sha256("\n".join(self.uids).encode()).hexdigest()[:8]
        self.measured = f"{len(self.uids)} x {items.count} views of {size} pixels, objects {digest}"

    def __call__(self, reconstruct: Reconstruct) -> Validation:
        """Measure."""
        rows, values = [], []
        for uid in self.uids:
            views = self.items.views(uid)
            made = reconstruct(views.rgba[: self.sources], views.cameras[: self.sources])
            truth, alpha = views.on(1.0, self.size)
            shown = np.stack([view.rgb.transpose(2, 0, 1) for view in made.views(views.cameras, self.size)])
            rows += [np.concatenate(list(truth), axis=2), np.concatenate(list(shown), axis=2)]
            first = self.sources if len(truth) > self.sources else 0
            values.append(_measure(shown[first:], truth[first:], alpha[first:, None] > 0.5))
        scalars = {key: float(np.mean([v[key] for v in values if key in v])) for key in values[0]}
        return Validation(scalars, np.concatenate(rows, axis=1).transpose(1, 2, 0), self.kind, self.measured)


def _measure(shown: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Means over views (V, 3, H, W), masks (V, 1, H, W)."""
    values = {"psnr": float(np.mean([psnr(a, b) for a, b in zip(shown, truth, strict=True)]))}
    if mask.any():
        values["psnr_object"] = psnr(shown, truth, mask)
    if truth.shape[-1] >= WINDOW:
        values["ssim"] = ssim(shown, truth)
    return values
