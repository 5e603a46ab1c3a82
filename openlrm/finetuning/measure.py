"""How good a model is on objects: the views it was not tuned on, rendered and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openlrm.diagnosis.objects import Subject, tuning_views
from openlrm.families.reconstructor import Reconstructor
from openlrm.losses.lpips import MIN_SIDE
from openlrm.metrics import PerceptualMetric, psnr, ssim
from openlrm.metrics.ssim import WINDOW

DEGRADED = 0.01
"""Share by which an object's L1 may exceed the base model's before it counts as made worse."""


@dataclass(frozen=True)
class Measured:
    """Figures of a model.

    Attributes:
        objects: uid -> figures, means over its views; psnr_object is of all their pixels of the object together.
        shown: uid -> (V, 3, R, R) renders.
    """

    objects: dict[str, dict[str, float]]
    shown: dict[str, np.ndarray]

    @property
    def mean(self) -> dict[str, float]:
        """Means over objects."""
        keys = next(iter(self.objects.values()))
        return {key: float(np.mean([figures[key] for figures in self.objects.values()])) for key in keys}


class Measure:
    """Measures a model on the same views each time.

    Args:
        subjects: the objects.
        trained: number of views that are tuned on; the others are measured.
        size: side of a picture in pixels.
        perceptual: LPIPS, or None to leave it out.
    """

    def __init__(self, subjects: Sequence[Subject], trained: int, size: int, perceptual: PerceptualMetric | None):
        self.subjects, self.size = subjects, size
        self.perceptual = perceptual if size >= MIN_SIDE else None
        self.views = {subject.uid: tuning_views(len(subject.views), trained)[1] for subject in subjects}
        self.truth = {subject.uid: subject.truth(self.views[subject.uid], size) for subject in subjects}

    def __call__(self, reconstructor: Reconstructor) -> Measured:
        """Figures of a model as it is."""
        objects, pictures = {}, {}
        for subject in self.subjects:
            cameras = subject.views.cameras[self.views[subject.uid]]
            shown = np.stack([view.rgb for view in subject.predict(reconstructor).views(cameras, self.size)])
            pictures[subject.uid] = shown.transpose(0, 3, 1, 2)
            objects[subject.uid] = self.figures(pictures[subject.uid], *self.truth[subject.uid])
        return Measured(objects, pictures)

    def figures(self, shown: np.ndarray, truth: np.ndarray, alpha: np.ndarray) -> dict[str, float]:
        """L1, PSNR (per picture, then the mean), PSNR of the object's pixels, SSIM and LPIPS of views (V, 3, R, R)."""
        found: dict[str, Any] = {"l1": float(np.abs(shown - truth).mean(dtype=np.float64))}
        found["psnr"] = float(np.mean([psnr(a, b) for a, b in zip(shown, truth, strict=True)]))
        if (alpha > 0.5).any():
            found["psnr_object"] = psnr(shown, truth, alpha[:, None] > 0.5)
        if self.size >= WINDOW:
            found["ssim"] = ssim(shown, truth)
        if self.perceptual is not None:
            found["lpips"] = self.perceptual(shown, truth)
        return found


def degraded(before: Measured, after: Measured) -> list[str]:
    """Objects whose L1 has grown by more than `DEGRADED`."""
    limit = 1 + DEGRADED
    return [uid for uid, figures in after.objects.items() if figures["l1"] > limit * before.objects[uid]["l1"]]
