"""Page of a diagnosis: a table of findings first, then every experiment; made of JSON and NPZ alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openlrm.errors import UserError
from openlrm.reports import markup
from openlrm.reports.diagnosis_experiments import experiment_sections
from openlrm.reports.findings import STUDIED, Finding, Results, findings
from openlrm.utils.paths import atomic_path

REPORT = "report.html"
OTHERS = ("canonical", "actual")
"""Folders, beside the experiments', of the other source camera."""


def is_diagnosis(folder: Path) -> bool:
    """Whether a folder holds results of `diagnose.*`."""
    return any(folder.glob("*/*_*.json")) and bool(_read(folder))


def write_diagnosis_page(folder: Path, tuned: Sequence[Path] = ()) -> Path:
    """Write report.html over a folder of results.

    Args:
        folder: OUTPUT of `diagnose.*`.
        tuned: folders of `finetune.*` whose results are part of the findings; those inside `folder` are found.

    Returns:
        The page.

    Raises:
        UserError: no results, or some that cannot be read.
    """
    results = _read(folder)
    if not results:
        raise UserError("no results of diagnose.*", folder, "run diagnose.all first")
    main = _camera(results)
    groups = {main: results}
    for other in OTHERS:
        if other != main and (found := _read(folder / other)):
            groups[other] = found
    places = {*folder.glob("*/results.json"), *(path / "results.json" for path in tuned)}
    runs = [_json(path) for path in sorted(places)]
    with atomic_path(folder / REPORT) as temporary:
        temporary.write_text(_page(folder, groups, runs), encoding="utf-8")
    return folder / REPORT


def _page(folder: Path, groups: dict[str, Results], runs: list[dict[str, Any]]) -> str:
    main = next(iter(groups))
    protocol = _protocol(groups[main])
    name = protocol["model_name"]
    small = STUDIED not in name
    title = f"Where {name} goes wrong" + (
        " (a small model: nothing here decides a claim about mix-base)" if small else ""
    )
    parts = []
    if small:
        text = (
            f"The claims are about {STUDIED}-1.1. Verdicts below are about {name}; they say nothing about that model."
        )
        parts.append(markup.note(text, warning=True))
    parts += [_objects(groups[main], protocol), markup.heading("Findings")]
    tables = {camera: findings(results, _told(runs, camera)) for camera, results in groups.items()}
    parts.append(_findings(tables))
    if len(groups) > 1:
        parts += [markup.heading("What is left when the model is told the true camera"), _cameras(groups), _gains(runs)]
    for camera, results in groups.items():
        folder_of = folder if camera == main else folder / camera
        parts.append(markup.heading(f"Experiments, source camera {camera}"))
        parts += experiment_sections(results, folder_of)
    parts.append(markup.folded("Protocol", markup.table([], protocol.items(), words=True)))
    return markup.page(title, parts)


def _findings(tables: dict[str, list[Finding]]) -> str:
    header = ["claim", "the study", *(f"{word}, camera {camera}" for camera in tables for word in ("found", "verdict"))]
    rows = []
    for row in zip(*tables.values(), strict=True):
        cells: list[object] = [f"{row[0].number}. {row[0].claim}", row[0].study]
        for finding in row:
            told = "; ".join([*map(str, finding.checks), *([finding.note] if finding.note else [])])
            cells += [told or None, finding.verdict]
        rows.append(cells)
    legend = (
        "holds / does not hold: the 95 % interval of the mean over objects lies on one side of the limit; not decided: "
        "it contains the limit, or there is one object alone."
    )
    return markup.table(header, rows, words=True) + markup.note(legend)


def _cameras(groups: dict[str, Results]) -> str:
    """Figures of both cameras object by object, and their ratio."""
    if not {"actual", "canonical"} <= set(groups):
        return markup.note("one source camera was measured")
    rows = []
    for uid in groups["actual"].get("correction", {}):
        if uid not in groups["canonical"].get("correction", {}):
            continue
        pair = [groups[camera]["correction"][uid]["figures"] for camera in ("actual", "canonical")]
        oracle = [groups[camera].get("oracle", {}).get(uid, {}).get("figures") for camera in ("actual", "canonical")]
        distance = oracle[0]["distance"] if oracle[0] else None
        cells = [uid, None if distance is None else f"{abs(distance - 2):.2f}"]
        for read in (
            lambda f: f["error"],
            lambda f: f["consistent"]["improvement_low"],
            lambda f: f["consistent"]["gain_ratio"],
        ):
            actual, canonical = map(read, pair)
            cells += [f"{actual:.4g}", f"{canonical:.4g}", f"{actual / canonical:.2f}"]
        cells += [f"{entry['psnr']['pred']['fitted']:.2f}" if entry else None for entry in oracle]
        rows.append(cells)
    names = ("E(T_pred)", "imp_low", "gain ratio")
    header = ["object", "|d - 2|", *(f"{name} {word}" for name in names for word in ("actual", "canonical", "ratio"))]
    return markup.table([*header, "PSNR actual", "PSNR canonical"], rows)


def _told(runs: Sequence[dict[str, Any]], camera: str) -> list[dict[str, Any]]:
    """Runs of fine-tuning in which the model was told this kind of source camera."""
    return [run for run in runs if run.get("config", {}).get("source_camera") == camera]


def _gains(runs: Sequence[dict[str, Any]]) -> str:
    """What tuning gained on the objects measured, by what the model was told."""
    rows = []
    for camera in OTHERS[::-1]:
        for run in _told(runs, camera):
            for name in (key for key, value in run.items() if isinstance(value, dict) and "gain" in value):
                before, gain = run["baseline"], run[name]["gain"]
                rows.append(
                    [
                        f"{name}, {camera}",
                        f"{before['psnr']:.2f}",
                        f"{gain['psnr']:+.2f}",
                        f"{gain['l1'] / before['l1']:+.1%}",
                        len(run[name]["degraded"]),
                    ]
                )
    header = ["tuned, source camera", "PSNR before (dB)", "gain (dB)", "change of L1", "objects made worse"]
    return markup.table(header, rows) if rows else markup.note("No fine-tuning was given (finetuned=FOLDER).")


def _objects(results: Results, protocol: dict[str, Any]) -> str:
    rows, seen = [], {}
    for entries in results.values():
        for uid, entry in entries.items():
            seen[uid] = entry["protocol"].get("trained_on")
    for uid, trained in seen.items():
        done = ", ".join(name for name, entries in results.items() if uid in entries)
        rows.append([uid, {True: "trained on", False: "never seen", None: "unknown"}[trained], done])
    size = f"{protocol['num_views']} views of {protocol['render_size']} pixels, seed {protocol['seed']}"
    return markup.note(f"{len(rows)} object{'s' * (len(rows) > 1)}, {size}") + markup.table(
        ["object", "by the model", "measured"], rows, words=True
    )


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Experiment -> uid -> JSON, of a folder's own results."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/*_*.json")):
        experiment = path.parent.name
        if path.stem.endswith(f"_{experiment}"):
            found.setdefault(experiment, {})[path.stem.removesuffix(f"_{experiment}")] = _json(path)
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the result ({error})", path) from error


def _protocol(results: Results) -> dict[str, Any]:
    entries = next(iter(results.values()))
    return next(iter(entries.values()))["protocol"]


def _camera(results: Results) -> str:
    return _protocol(results)["source_camera"]
