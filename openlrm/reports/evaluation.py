"""Page of an evaluation: means, every object, its sheet, the worst first."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.reports.results import SHEETS, Evaluation, figures_of, flatten, metrics_of

# Sheets inside the page, of about 100 kB each; those of the other objects are linked.
MOST_SHEETS = 60
_SHEET_WIDTH = 1100
_KINDS = {
    "without_input_view": "without the input view",
    "with_input_view": "with the input view",
    "input_copied": "the input copied as every other view",
    "mean_object": "the mean training object",
}
_GROUPS = {"trained_on": "objects trained on", "not_trained_on": "objects not trained on"}


def evaluation_page(result: Evaluation) -> str:
    """Return the page as one HTML document."""
    metrics = result.metrics
    order = result.worst_first()
    parts = [
        markup.note(f"Weights: {metrics.get('weights')}"),
        _warning(metrics),
        markup.heading("Means"),
        _means(result),
    ]
    parts += [markup.heading("Objects, worst first"), _chart(result, order), _objects(result, order)]
    if metrics.get("failed"):
        rows = metrics["failed"].items()
        parts += [
            markup.heading("Objects that could not be evaluated"),
            markup.table(["object", "why"], rows, words=True),
        ]
    parts += [markup.heading("Sheets, worst first"), _sheets(result, order)]
    parts += [markup.heading("Protocol"), markup.table([], flatten(result.protocol).items(), words=True)]
    return markup.page(f"Evaluation of {metrics.get('model', result.folder.name)}", parts)


def _warning(metrics: dict[str, Any]) -> str:
    seen = sum(bool(entry.get("in_training")) for entry in metrics["objects"].values())
    if not seen:
        return ""
    count = len(metrics["objects"])
    message = f"{seen} of {count} objects were trained on: their figures say nothing of new objects."
    return markup.note(message, warning=True)


def _means(result: Evaluation) -> str:
    mean = result.metrics["mean"]
    shown = metrics_of(figures_of(mean, result.kind))
    rows = []
    for kind, title in _KINDS.items():
        if kind not in mean:
            continue
        figures = (mean.get(kind) or {}) | ((mean.get("mesh") or {}) if kind == result.kind else {})
        rows.append([title, *(metric.show(figures.get(metric.key)) for metric in shown)])
    for name, title in _GROUPS.items():
        group = result.metrics.get(name)
        if group and group["mean"]:
            figures = figures_of(group["mean"], result.kind)
            rows.append([f"{len(group['uids'])} {title}", *(metric.show(figures.get(metric.key)) for metric in shown)])
    seconds = f"Median seconds: planes {mean['seconds_planes']:.2f}, all views {mean['seconds_render']:.2f}."
    count = f"{len(result.metrics['objects'])} objects."
    return markup.table(["", *(metric.title for metric in shown)], rows) + markup.note(f"{count} {seconds}")


def _chart(result: Evaluation, order: list[str]) -> str:
    if len(order) < 2:
        return ""
    ranks = range(1, len(order) + 1)
    objects = result.metrics["objects"]
    curves = []
    for colour, (kind, name) in enumerate(((result.kind, "model"), ("input_copied", "input copied"))):
        values = [(objects[uid].get(kind) or {}).get("psnr") for uid in order]
        numbers = [float("nan") if value is None else value for value in values]
        curves.append(Curve(name, ranks, numbers, colour, dashed=colour > 0))
    return f'<div class="charts">{line_chart("PSNR of the objects (dB)", curves, "object, worst first")}</div>'


def _objects(result: Evaluation, order: list[str]) -> str:
    shown = metrics_of(figures_of(result.metrics["mean"], result.kind))
    rows = []
    for uid in order:
        entry, figures = result.metrics["objects"][uid], result.figures(uid)
        views = [view for view in entry.get("views", []) if view["psnr"] is not None]
        worst = min(views, key=lambda view: view["psnr"], default=None)
        seen = "yes" if entry.get("in_training") else "no" if entry.get("in_training") is False else None
        least = None if worst is None else f"{worst['view']}: {worst['psnr']:.2f}"
        rows.append([uid, *(metric.show(figures.get(metric.key)) for metric in shown), least, seen])
    return markup.table(["object", *(metric.title for metric in shown), "worst view (dB)", "trained on"], rows)


def _sheets(result: Evaluation, order: list[str]) -> str:
    parts = [
        markup.note(
            "The input, then truth, render and error of views: an error of 0 is black, 1/3 red, 2/3 yellow, 1 white. "
            "Above each view its number, PSNR and the object's PSNR."
        )
    ]
    for uid in order[:MOST_SHEETS]:
        sheet = result.sheet(uid)
        body = markup.note("no sheet") if sheet is None else markup.picture(sheet, _SHEET_WIDTH)
        parts.append(f"<section>{markup.heading(f'{uid}: {_told(result, uid)}', 3)}{body}</section>")
    if rest := order[MOST_SHEETS:]:
        links = ", ".join(f'<a href="{SHEETS}/{quote(uid)}.png">{markup.text(uid)}</a>' for uid in rest)
        parts.append(f"<p>The other {len(rest)} are in the folder: {links}</p>")
    return "\n".join(parts)


def _told(result: Evaluation, uid: str) -> str:
    figures = result.figures(uid)
    return ", ".join(f"{metric.title} {metric.show(figures[metric.key])}" for metric in metrics_of(figures))
