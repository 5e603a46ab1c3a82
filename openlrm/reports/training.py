"""Page of a training run: curves, the validation's pictures over time, what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import yaml

from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.reports.metrics import metrics_among
from openlrm.reports.results import HELD_OUT, PARTLY_TRAINED_ON, TrainingRun, flatten

_HISTORY = 12
_PICTURE_WIDTH = 700
_OUTSIDE_THE_LOSS = ("opacity", "gradient_norm", "learning_rate")

CHARTS: tuple[tuple[str, str, tuple[str, ...], bool], ...] = (
    ("Validation: PSNR (dB)", "validation", ("psnr", "psnr_object"), False),
    ("Validation: SSIM", "validation", ("ssim",), False),
    ("Norm of the gradient", "train", ("gradient_norm",), True),
    ("Learning rate", "train", ("learning_rate",), False),
    ("Collapse watch: opacity of the renders, alpha of the truth", "watch", ("opacity", "alpha"), False),
    ("Collapse watch: input gain (1: the input is ignored)", "watch", ("input_gain",), True),
)
"""Title, group and names of the numbers, and whether on a logarithmic axis."""


def training_page(run: TrainingRun) -> str:
    """Return the page as one HTML document."""
    parts = [_state(run), markup.heading("Curves"), charts([(run, "")])]
    pictures = run.pictures()
    if pictures:
        chosen = spread(len(pictures), _HISTORY)
        parts += [
            markup.heading("Validation pictures"),
            markup.note("Of each object a row of truth above one of renders."),
        ]
        newest_first = (pictures[index] for index in reversed(chosen))
        shown = "".join(markup.picture(path, _PICTURE_WIDTH, f"step {step}") for step, path in newest_first)
        parts.append(f'<div class="pair">{shown}</div>')
    parts += [markup.heading("Collapse watch"), _watch(run), markup.heading("Run")]
    parts.append(markup.table([], flatten(run.manifest).items(), words=True))
    parts.append(markup.folded("All options", f"<pre>{markup.text(yaml.safe_dump(run.config, sort_keys=False))}</pre>"))
    return markup.page(f"Training of {run.config.get('saver.name', 'lrm')}, {run.folder.resolve().name}", parts)


def charts(runs: Sequence[tuple[TrainingRun, str]]) -> str:
    """Draw the curves of runs, those of the second dashed.

    Args:
        runs: each with what goes behind the names of its curves.
    """
    parts = [line_chart("Loss and its parts", _loss_curves(runs), log=True)]
    for title, group, names, log in CHARTS:
        curves = [
            Curve(f"{name.replace('_', ' ')}{label}", *run.series(group, name), colour, dashed=number > 0)
            for number, (run, label) in enumerate(runs)
            for colour, name in enumerate(names)
        ]
        if any(len(curve.x) for curve in curves):
            parts.append(line_chart(title, curves, log=log))
    return f'<div class="charts">{"".join(parts)}</div>'


def spread(count: int, most: int) -> list[int]:
    """Return at most so many indices, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _loss_curves(runs: Sequence[tuple[TrainingRun, str]]) -> list[Curve]:
    curves = []
    for number, (run, label) in enumerate(runs):
        names = [name for name in run.names("train") if name not in _OUTSIDE_THE_LOSS]
        for colour, name in enumerate(names):
            steps, values = run.series("train", name)
            if any(values):
                curves.append(Curve(f"{name}{label}", steps, values, colour, dashed=number > 0))
    return curves


def _state(run: TrainingRun) -> str:
    validations = run.names("validation")
    if not validations:
        return markup.note("No validation yet.")
    rows = []
    for metric in metrics_among(run.names("validation")):
        steps, values = run.series("validation", metric.key)
        best = metric.best(values)
        rows.append([metric.title, metric.show(values[-1]), metric.show(values[best]), steps[best]])
    last = run.last("validation")
    known = markup.table([f"{last['objects']} objects", f"step {last['step']}", "best", "at step"], rows)
    if last["objects"] != HELD_OUT:
        which = "on objects, some of which" if last["objects"] == PARTLY_TRAINED_ON else "on objects"
        known += markup.note(f"Measured {which} it is trained on: this says nothing of new ones.", warning=True)
    return known


def _watch(run: TrainingRun) -> str:
    steps, states = run.series("watch", "watch")
    if not steps:
        return markup.note("It did not look.")
    changes = [index for index in range(len(steps)) if index == 0 or states[index] != states[index - 1]]
    return markup.table(["from step", "state"], [(steps[index], states[index]) for index in changes], words=True)
