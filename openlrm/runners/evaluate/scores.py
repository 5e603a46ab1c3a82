"""Figures of one object and means over objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from openlrm.metrics import PerceptualMetric, mask_iou, psnr, ssim
from openlrm.metrics.ssim import WINDOW

METRICS = ("psnr", "ssim", "lpips", "psnr_object", "mask_iou")

PSNR_LIMIT = 100.0
"""Decibels that equal pictures count for; a mean over views could not hold infinity."""

INSIDE = 0.5
"""Alpha above which a pixel is the object's."""

Figures = dict[str, Any]
"""Name of a metric -> its value, or None where there is none."""


def score_object(
    truth: np.ndarray,
    alpha: np.ndarray,
    shown: np.ndarray,
    opacity: np.ndarray,
    perceptual: PerceptualMetric | None,
) -> dict[str, Any]:
    """Compare the renders of an object with its views, and view 0 with all others.

    Args:
        truth: (V, 3, R, R) in [0, 1], the input view first.
        alpha: (V, R, R).
        shown: as truth.
        opacity: as alpha.
        perceptual: LPIPS, or None to leave it out.

    Returns:
        `without_input_view` and `with_input_view`: means over views, but psnr_object, which is the PSNR of the
        object's pixels of all those views together; `input_copied`: the same for the input shown as every other
        view, what a model must beat that looks at nothing else; `views`: figures of every view. None instead of
        figures when there is but the input view.
    """
    copied = np.broadcast_to(truth[:1], truth.shape)
    first = None if perceptual is None else perceptual.features(truth[0])
    views, copies = [], []
    for view in range(len(truth)):
        lpips = [None, None]
        if perceptual is not None:
            features = perceptual.features(truth[view])
            lpips = [perceptual.distance(f, features) for f in (perceptual.features(shown[view]), first)]
        views.append(_figures(view, truth[view], alpha[view], shown[view], opacity[view], lpips[0]))
        copies.append(_figures(view, truth[view], alpha[view], truth[0], alpha[0], lpips[1]))
    return {
        "without_input_view": _over_views(views[1:], truth[1:], alpha[1:], shown[1:]),
        "with_input_view": _over_views(views, truth, alpha, shown),
        "input_copied": _over_views(copies[1:], truth[1:], alpha[1:], copied[1:]),
        "views": views,
    }


def mean_figures(figures: Iterable[Figures | None]) -> Figures | None:
    """Mean of every metric over those that have it; None when there is nothing to average."""
    present = [entry for entry in figures if entry is not None]
    if not present:
        return None
    return {name: mean([entry[name] for entry in present]) for name in METRICS}


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; None when none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _figures(
    view: int, truth: np.ndarray, alpha: np.ndarray, shown: np.ndarray, opacity: np.ndarray, lpips: float | None
) -> Figures:
    inside = alpha > INSIDE
    return {
        "view": view,
        "psnr": _limited(psnr(shown, truth)),
        "ssim": ssim(shown, truth) if min(truth.shape[1:]) >= WINDOW else None,
        "lpips": lpips,
        "psnr_object": _limited(psnr(shown, truth, inside)) if inside.any() else None,
        "mask_iou": mask_iou(opacity, alpha, INSIDE),
    }


def _over_views(views: list[Figures], truth: np.ndarray, alpha: np.ndarray, shown: np.ndarray) -> Figures | None:
    figures = mean_figures(views)
    inside = alpha[:, None] > INSIDE
    if figures is not None and inside.any():
        figures["psnr_object"] = _limited(psnr(shown, truth, inside))
    return figures


def _limited(decibels: float) -> float:
    return min(decibels, PSNR_LIMIT)
