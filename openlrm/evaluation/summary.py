"""Means over objects, and what the log says of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from openlrm.evaluation.scores import mean, mean_figures
from openlrm.reports.metrics import CHAMFER, IMAGE_METRICS
from openlrm.utils.run_files import Training

_KINDS = {
    "without_input_view": "without the input view",
    "with_input_view": "with the input view",
    "input_copied": "the input copied as every other view",
    "mean_object": "the mean training object",
}
RIVALS = ("input_copied", "mean_object")
"""Kinds of figures that are not the model's; the second is only there if it was asked for."""


def summarise(objects: dict[str, dict[str, Any]], training: Training) -> dict[str, Any]:
    """Means over objects, all and by whether they were trained on.

    Args:
        objects: uid -> what `score_object` gives, with seconds_planes, seconds_render, in_training and, if meshes
            are compared, mesh.
        training: which objects were trained on, if that is known.

    Returns:
        `mean`, and if it is known `trained_on` and `not_trained_on`, each with uids and mean. A mean has the keys of
        an object; seconds are medians, for the first object's hold the warm-up; meshes_compared says how many objects
        the mesh figures are of, if there are any.
    """
    groups: dict[str, Any] = {"mean": _over(list(objects.values()))}
    if training.uids is not None:
        for name, seen in (("trained_on", True), ("not_trained_on", False)):
            chosen = {uid: entry for uid, entry in objects.items() if entry["in_training"] == seen}
            groups[name] = {"uids": list(chosen), "mean": _over(list(chosen.values())) if chosen else None}
    return groups


def log_lines(summary: dict[str, Any], count: int, input_view_counts: bool) -> list[str]:
    """Lines that tell a `summarise` result of `count` objects."""
    total = summary["mean"]
    lines = [f"mean of {count} objects: {describe(total, input_view_counts)}"]
    lines += [f"  {title}: {_figures(total[kind])}" for kind, title in _KINDS.items() if kind in total]
    for name in ("trained_on", "not_trained_on"):
        group = summary.get(name)
        if group and group["mean"]:
            told = describe(group["mean"], input_view_counts)
            lines.append(f"  {len(group['uids'])} objects {name.replace('_', ' ')}: {told}")
            lines += [
                f"    {_KINDS[kind]}: {_figures(group['mean'][kind])}" for kind in RIVALS if kind in group["mean"]
            ]
    return lines


def describe(entry: dict[str, Any], input_view_counts: bool) -> str:
    """Figures of an object, or a mean, in a line."""
    parts = [_figures(entry["with_input_view" if input_view_counts else "without_input_view"])]
    if entry.get("mesh"):
        parts.append(CHAMFER.tell(entry["mesh"][CHAMFER.key]))
    return ", ".join([*parts, f"{entry['seconds_planes']:.2f} + {entry['seconds_render']:.2f} s"])


def _over(entries: list[dict[str, Any]]) -> dict[str, Any]:
    present = [kind for kind in _KINDS if kind in entries[0]]
    means: dict[str, Any] = {kind: mean_figures(entry[kind] for entry in entries) for kind in present}
    for name in ("seconds_planes", "seconds_render"):
        means[name] = float(np.median([entry[name] for entry in entries]))
    meshes = [entry["mesh"] for entry in entries if entry.get("mesh")]
    if meshes:
        means["mesh"] = {name: mean(figures[name] for figures in meshes) for name in meshes[0]}
        means["meshes_compared"] = len(meshes)
    return means


def _figures(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "no view but the input"
    return ", ".join(metric.tell(figures[metric.key]) for metric in IMAGE_METRICS if figures[metric.key] is not None)
