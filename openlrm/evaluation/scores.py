"""Figures of one object and means over objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from openlrm.metrics import PerceptualMetric, mask_iou, psnr, ssim
from openlrm.metrics.ssim import WINDOW
from openlrm.reports.metrics import IMAGE_METRICS

METRICS = tuple(metric.key for metric in IMAGE_METRICS)

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
    mean_object: tuple[np.ndarray, np.ndarray] | None = None,
    inputs: int = 1,
) -> dict[str, Any]:
    """Compare the renders of an object with its views, and with them view 0 and the mean training object.

    Args:
        truth: (V, 3, R, R) in [0, 1], the input views first.
        alpha: (V, R, R).
        shown: as truth.
        opacity: as alpha.
        perceptual: LPIPS, or None to leave it out.
        mean_object: pictures and opacity of the mean training object from the same cameras, as `shown` and `opacity`.
        inputs: how many of the views the model was given.

    Returns:
        `without_input_view` and `with_input_view`: means over views, but psnr_object, which is the PSNR of the
        object's pixels of all those views together; `input_copied`: the same for the input shown as every other
        view, what a model must beat that looks at nothing else; `mean_object`: the same for that, if it is given;
        `views`: figures of every view. None instead of figures when there is but the input view.
    """
    shows = {"model": (shown, opacity), "input_copied": [np.broadcast_to(x[:1], x.shape) for x in (truth, alpha)]}
    if mean_object is not None:
        shows["mean_object"] = mean_object
    found: dict[str, list[Figures]] = {name: [] for name in shows}
    first = None if perceptual is None else perceptual.features(truth[0])
    for view in range(len(truth)):
        # Features of a view at a time: those of all take gigabytes.
        features = None if perceptual is None else perceptual.features(truth[view])
        for name, (pictures, masks) in shows.items():
            lpips = None
            if perceptual is not None:
                theirs = first if name == "input_copied" else perceptual.features(pictures[view])
                lpips = perceptual.distance(theirs, features)
            found[name].append(_figures(view, truth[view], alpha[view], pictures[view], masks[view], lpips))
    means = {
        name: _over_views(found[name][inputs:], truth[inputs:], alpha[inputs:], pictures[inputs:])
        for name, (pictures, _) in shows.items()
    }
    everything = _over_views(found["model"], truth, alpha, shown)
    return {"without_input_view": means.pop("model"), "with_input_view": everything, **means, "views": found["model"]}


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
