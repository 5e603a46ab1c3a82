"""Validation: fixed views of fixed objects on white, measured as evaluation does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor

from openlrm.datasets import ValidationItems
from openlrm.inference.scene import Scene
from openlrm.metrics import psnr, ssim
from openlrm.metrics.ssim import WINDOW
from openlrm.models.lrm import ModelLRM


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    Attributes:
        scalars: psnr, psnr_object (over the object's pixels alone) and ssim, means over objects; the input view
            does not count unless it is the only one.
        sheet: (H, W, 3) picture, a pair of rows an object: the truth above the renders.
    """

    scalars: dict[str, float]
    sheet: np.ndarray


class Validator:
    """Measures a model on fixed views.

    Args:
        items: the objects, with their size and views set.
        objects: how many of them are looked at.
        kind: what is said of them, `openlrm.reports.results.HELD_OUT` or another; never checked here.

    Attributes:
        measured: names their number, size and views: figures of another text are not comparable.
    """

    def __init__(self, items: ValidationItems, objects: int, kind: str):
        self.items, self.kind = items, kind
        self.uids = items.uids[:objects]
        digest = hashlib.sha256("\n".join(self.uids).encode()).hexdigest()[:8]
        self.measured = f"{len(self.uids)} x {items.views} views of {items.render_size} pixels, objects {digest}"

    def __call__(self, model: ModelLRM) -> Validation:
        """Measure; the model is left in training state."""
        model.set_train(False)
        rows, values = [], []
        for uid in self.uids:
            item = self.items.view_item(uid)
            planes = model.forward_planes(Tensor(item["source_image"][None]), Tensor(item["source_camera"][None]))
            truth, mask = item["render_image"], item["render_mask"] > 0.5
            views = Scene(planes, model.synthesizer).views(item["render_camera"], truth.shape[-1])
            shown = np.stack([view.rgb.transpose(2, 0, 1) for view in views])
            rows += [np.concatenate(list(truth), axis=2), np.concatenate(list(shown), axis=2)]
            first = 1 if len(truth) > 1 else 0
            values.append(_measure(shown[first:], truth[first:], mask[first:]))
        model.set_train(True)
        scalars = {key: float(np.mean([v[key] for v in values if key in v])) for key in values[0]}
        return Validation(scalars, np.concatenate(rows, axis=1).transpose(1, 2, 0))


def _measure(shown: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Means over views (V, 3, H, W), masks (V, 1, H, W)."""
    values = {"psnr": float(np.mean([psnr(a, b) for a, b in zip(shown, truth, strict=True)]))}
    if mask.any():
        values["psnr_object"] = psnr(shown, truth, mask)
    if truth.shape[-1] >= WINDOW:
        values["ssim"] = ssim(shown, truth)
    return values
