"""Two results side by side: a page, and a short table of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openlrm.errors import UserError
from openlrm.reports import markup
from openlrm.reports.metrics import LOSS, PSNR, Metric, metrics_among
from openlrm.reports.results import Evaluation, TrainingRun, flatten, metrics_of
from openlrm.reports.training import charts, spread

_SHEETS, _SHEET_WIDTH = 12, 800
_PICTURES, _PICTURE_WIDTH = 4, 560
_LISTED = 5
# Parts of a protocol that say who and when, not how.
_NOT_THE_PROTOCOL = ("model.", "versions.", "options.", "device.", "data.objects", "protocol.objects_sha256")

_HEADER = ("", "A", "B", "B − A", "better")
Row = tuple[str, "str | None", "str | None", "str | None", "str | None"]
"""Cells of a table with `_HEADER`."""


def compare(a: Evaluation | TrainingRun, b: Evaluation | TrainingRun) -> tuple[str, str]:
    """Put two results of one kind side by side.

    Figures of evaluations are means over the objects both have.

    Returns:
        The page as one HTML document, and lines of text that say the essence.

    Raises:
        UserError: two kinds, or evaluations without a common object.
    """
    if isinstance(a, Evaluation) and isinstance(b, Evaluation):
        return _compare_evaluations(a, b)
    if isinstance(a, TrainingRun) and isinstance(b, TrainingRun):
        return _compare_runs(a, b)
    hint = "give two folders of eval.lrm, or two of train.lrm"
    raise UserError("an evaluation cannot be compared with a training run", f"{a.folder}, {b.folder}", hint)


def _compare_evaluations(a: Evaluation, b: Evaluation) -> tuple[str, str]:
    common = [uid for uid in a.metrics["objects"] if uid in b.metrics["objects"]]
    if not common:
        raise UserError("no object is in both results", f"{a.folder}, {b.folder}")
    if a.kind != b.kind:
        raise UserError("one counts the input view, the other does not", f"{a.folder}, {b.folder}")
    if (ours := _protocol_name(a)) != (theirs := _protocol_name(b)):
        what = f"results of different protocols, {ours} and {theirs}, have no common measure"
        raise UserError(what, f"{a.folder}, {b.folder}", "evaluate one of the models again")
    first, second = _means(a, common), _means(b, common)
    rows = [_row(metric, first[metric.key], second[metric.key]) for metric in metrics_of(first) if metric.key in second]
    pairs = {uid: (a.figures(uid).get("psnr"), b.figures(uid).get("psnr")) for uid in common}
    pairs = {uid: pair for uid, pair in pairs.items() if None not in pair}
    changed = sorted(pairs, key=lambda uid: -abs(pairs[uid][1] - pairs[uid][0]))
    better = sum(psnr_b > psnr_a for psnr_a, psnr_b in pairs.values())
    notes = [f"{len(common)} objects in both; B has the higher PSNR on {better} of {len(pairs)}."]
    for name, one, other in (("A", a, b), ("B", b, a)):
        alone = [uid for uid in one.metrics["objects"] if uid not in other.metrics["objects"]]
        if alone:
            notes.append(f"Only in {name}, not counted: {_some(alone)}.")
    differences = _protocol_differences(a, b)
    if differences:
        notes.append("NOT the same protocol: " + "; ".join(f"{key} {x} / {y}" for key, x, y in differences) + ".")

    objects = [_row(PSNR, *pairs[uid], name=uid) for uid in changed]
    parts = [_names(a, b), *(markup.note(line, warning=line.startswith("NOT")) for line in notes)]
    parts += [markup.heading("Means"), markup.table(_HEADER, rows)]
    parts += [markup.heading("PSNR of the objects, largest change first"), markup.table(_HEADER, objects)]
    parts += [markup.heading("Sheets, largest change first: A left, B right")]
    for uid in changed[:_SHEETS]:
        sheets = [
            markup.note("no sheet") if path is None else markup.picture(path, _SHEET_WIDTH)
            for path in (a.sheet(uid), b.sheet(uid))
        ]
        parts.append(f'<section>{markup.heading(uid, 3)}<div class="pair">{"".join(sheets)}</div></section>')
    text = _text_table(rows) + _text_table(objects[:_LISTED], f"PSNR, largest change of {len(objects)}")
    return markup.page("Two evaluations", parts), _legend(a, b) + "\n".join(notes) + "\n\n" + text


def _compare_runs(a: TrainingRun, b: TrainingRun) -> tuple[str, str]:
    rows = _run_rows(a, b)
    options = [(key, a.config.get(key), b.config.get(key)) for key in {**a.config, **b.config}]
    options = [(key, first, second) for key, first, second in options if first != second]

    notes = []
    if any(key.startswith("val.") for key, *_ in options) or not _same_validation(a, b):
        notes = ["NOT the same validation: see the options val.* and data.*."]
    parts = [_names(a, b), *(markup.note(line, warning=True) for line in notes)]
    parts += [markup.heading("Validation"), markup.table(_HEADER, rows)]
    parts += [markup.heading("Options that differ"), markup.table(["option", "A", "B"], options, words=True)]
    parts += [markup.heading("Curves: A solid, B dashed"), charts([(a, " A"), (b, " B")])]
    parts += [markup.heading("Validation pictures: A left, B right"), _pictures(a, b)]
    told = "\n".join(f"{key}: {first} / {second}" for key, first, second in options)
    text = [*notes, _text_table(rows), f"Options that differ:\n{told or 'none'}\n"]
    return markup.page("Two training runs", parts), _legend(a, b) + "\n".join(text)


def _run_rows(a: TrainingRun, b: TrainingRun) -> list[Row]:
    rows = []
    names = [run.names("validation") for run in (a, b)]
    for metric in metrics_among(name for name in names[0] if name in names[1]):
        series = [run.series("validation", metric.key)[1] for run in (a, b)]
        best = [values[metric.best(values)] for values in series]
        last = [run.last("validation").get(metric.key) for run in (a, b)]
        if None not in last:
            rows += [_row(metric, *last), _row(metric, *best, name=f"{metric.title}, best")]
    loss = [run.last("train").get("loss") for run in (a, b)]
    if None not in loss:
        rows.append(_row(LOSS, *loss, name="last loss"))
    steps = (str(run.records[-1]["step"] if run.records else 0) for run in (a, b))
    return [*rows, ("steps", *steps, None, None)]


def _same_validation(a: TrainingRun, b: TrainingRun) -> bool:
    """Whether the last validations were of the same objects, as far as that is known, and held out in both or not."""
    first, second = a.last("validation"), b.last("validation")
    known = [run["measured"] for run in (first, second) if "measured" in run]
    return first.get("objects") == second.get("objects") and len(set(known)) < 2


def _pictures(a: TrainingRun, b: TrainingRun) -> str:
    pictures = [dict(run.pictures()) for run in (a, b)]
    common = sorted(pictures[0].keys() & pictures[1].keys())
    if not common:
        return markup.note("No step of which both have one.")
    parts = []
    for step in (common[index] for index in reversed(spread(len(common), _PICTURES))):
        shown = (markup.picture(files[step], _PICTURE_WIDTH, f"step {step}") for files in pictures)
        parts.append(f'<div class="pair">{"".join(shown)}</div>')
    return "\n".join(parts)


def _means(result: Evaluation, uids: Sequence[str]) -> dict[str, Any]:
    """Means of every figure over the objects; a figure that one of them lacks is left out."""
    figures = [result.figures(uid) for uid in uids]
    keys = [key for key in figures[0] if all(entry.get(key) is not None for entry in figures)]
    return {key: sum(entry[key] for entry in figures) / len(figures) for key in keys}


def _row(metric: Metric, first: float, second: float, name: str = "") -> Row:
    shown = metric.show(first), metric.show(second), metric.show(second - first, sign=True)
    better = None if shown[0] == shown[1] else "B" if metric.better(second, first) else "A"
    return name or metric.title, *shown, better


def _protocol_name(result: Evaluation) -> str:
    """Results from before protocols had names are of the first one."""
    named = result.protocol.get("protocol")
    return str(named.get("name")) if isinstance(named, dict) else "lrm-own"


def _protocol_differences(a: Evaluation, b: Evaluation) -> list[tuple[str, Any, Any]]:
    first, second = flatten(a.protocol), flatten(b.protocol)
    keys = [key for key in {**first, **second} if not key.startswith(_NOT_THE_PROTOCOL)]
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def _names(a: Evaluation | TrainingRun, b: Evaluation | TrainingRun) -> str:
    return markup.table([], [("A", a.folder), ("B", b.folder)], words=True)


def _legend(a: Evaluation | TrainingRun, b: Evaluation | TrainingRun) -> str:
    return f"A  {a.folder}\nB  {b.folder}\n\n"


def _text_table(rows: Sequence[Row], title: str = "") -> str:
    lines = [(title, "A", "B", "B - A", "better"), *(tuple(cell or "-" for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = (
        "  ".join(
            f"{cell:{'<' if n == 0 else '>'}{width}}" for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(shown) + "\n\n"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
