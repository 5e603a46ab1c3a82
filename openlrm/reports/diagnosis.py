"""Page of a diagnosis: a table of findings first, then every experiment; made of JSON and NPZ alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.errors import UserError
from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.reports.findings import STUDIED, Finding, Results, findings
from openlrm.utils.paths import atomic_path

REPORT = "report.html"
OTHERS = ("canonical", "actual")
"""Folders, beside the experiments', of the other source camera."""
_BANDS = ("low", "middle", "high", "corners")
_WIDTH = 900


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
        for section in (_oracle, _spectrum, _transfer, _correction, _decomposition, _surface, _nullspace, _refine):
            parts += section(results, folder_of)
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


def _oracle(results: Results, folder: Path) -> list[str]:
    entries = results.get("oracle", {})
    if not entries:
        return []
    rows, trust = [], []
    for uid, entry in entries.items():
        figures = entry["figures"]
        for name, psnr in figures["psnr"].items():
            rows.append([uid, name, *(f"{psnr[key]:.2f}" if key in psnr else None for key in ("fitted", "kept"))])
        if "coherence" in figures:
            trust.append([uid, *(f"{value:.2f}" for value in figures["coherence"]["bands"])])
    basins = [
        [uid, pair, *(f"{basin[key]:.3f}" for key in ("correlation", "l1", "scale", "cosine"))]
        for uid, entry in entries.items()
        for pair, basin in entry["figures"]["basins"].items()
    ]
    parts = [
        markup.heading("Reference planes", 3),
        markup.table(["object", "planes", "PSNR fitted views (dB)", "PSNR kept views (dB)"], rows),
        markup.table(["object", "pair", "r", "L1", "scale", "cosine"], basins),
    ]
    if trust:
        told = "Coherence of the residuals of two fits: a band that does not come back is noise of the fit."
        parts += [markup.note(told), markup.table(["object", *_BANDS], trust)]
    for uid in entries:
        arrays = _arrays(folder, "oracle", uid)
        names = [name for name in ("shown_pred", "shown_predinit", "shown_rand", "truth") if name in arrays]
        parts.append(_strip([arrays[name] for name in names], f"{uid}: {', '.join(names).replace('shown_', '')}"))
    return parts


def _spectrum(results: Results, folder: Path) -> list[str]:
    entries = results.get("spectrum", {})
    if not entries:
        return []
    rows, curves = [], []
    for uid, entry in entries.items():
        figures = entry["figures"]
        share, density = figures["consistent"]["share"], figures["consistent"]["density"]
        rows.append([uid, "power share", *(f"{value:.1%}" for value in share)])
        rows.append(["", "density (white noise 1)", *(f"{value:.2f}" for value in density)])
        rows.append(["", "the study's share", *(f"{value:.1%}" for value in figures["parity"]["share"]), None])
        arrays = _arrays(folder, "spectrum", uid)
        power = arrays["radial_residual"].mean(0)
        curves.append(Curve(uid, (np.arange(len(power)) + 0.5) / (len(power) - 1), power, len(curves)))
    return [
        markup.heading("Spectrum of the residual", 3),
        markup.table(["object", "", *_BANDS], rows),
        line_chart("Mean power of a bin", curves, "frequency, 1 is Nyquist", log=True, x_step=0.2),
    ]


def _transfer(results: Results, folder: Path) -> list[str]:
    entries = results.get("transfer", {})
    if not entries:
        return []
    curves, rows, scaled = [], [], []
    for uid, entry in entries.items():
        arrays, figures = _arrays(folder, "transfer", uid), entry["figures"]
        edges, h2 = arrays["edges"], arrays["h2"][-1]
        spread = h2.std(0, ddof=1) if len(h2) > 1 else None
        curves.append(Curve(uid, (edges[1:] + edges[:-1]) / 2, h2.mean(0), len(curves), spread=spread))
        consistent, parity = figures["consistent"], figures["parity"]
        slope = [values[0] / values[-1] for values in consistent["h2"]]
        rows.append(
            [
                uid,
                *(f"{consistent[k]:.2f}" for k in ("first_over_last", "low_over_high")),
                f"{parity['first_over_last']:.2f}",
                f"{consistent['at_prediction']['first_over_last']:.2f}",
                ", ".join(f"{value:.2f}" for value in slope),
                f"{figures['floor_parity']:.2g}",
            ]
        )
        calibration = figures["calibration"]
        scaled.append([uid, *(f"{calibration[kind]['improvement']:+.1%}" for kind in ("global", "scale", "affine"))])
    header = [
        "object",
        "H2 first / last",
        "low / high",
        "the study's H",
        "at T_pred",
        "first / last by amplitude",
        "floor of random samples (L1)",
    ]
    return [
        markup.heading("What the decoder shows: H(f)", 3),
        line_chart("H2, mean and standard deviation over noise", curves, "frequency, 1 is Nyquist", x_step=0.2),
        markup.table(header, rows),
        markup.note("Render error that scaling the prediction onto the reference would repair:"),
        markup.table(["object", "one factor", "a factor a channel", "factor and offset"], scaled),
    ]


def _correction(results: Results, folder: Path) -> list[str]:
    entries = results.get("correction", {})
    if not entries:
        return []
    rows, parts = [], []
    for uid, entry in entries.items():
        for at in entry["figures"]["sweep"]:
            a = at["amplification"]
            rows.append(
                [
                    uid,
                    f"{at['cutoff']:g}",
                    f"{at['improvement_low']:+.1%}",
                    f"{at['improvement_high']:+.1%}",
                    f"{at['power_share_low']:.1%}",
                    "not defined" if a is None else f"{a:.1f}",
                    f"{at['gain_ratio']:.2f}",
                ]
            )
        arrays = _arrays(folder, "correction", uid)
        parts.append(
            markup.heat_maps([*arrays["heat_low"], *arrays["heat_high"]], _WIDTH, f"{uid}: |low|, then |high|")
        )
        names = ("prediction", "without_low", "without_high", "reference")
        parts.append(
            _strip([arrays[f"shown_{name}"] for name in names], f"{uid}: {', '.join(names).replace('_', ' ')}")
        )
    header = ["object", "cutoff", "low corrected", "high corrected", "power that is low", "amplification", "gain ratio"]
    return [markup.heading("Causal correction", 3), markup.table(header, rows), *parts]


def _decomposition(results: Results, folder: Path) -> list[str]:
    entries = results.get("decomposition", {})
    kinds = ("dc", "structured", "low", "high", "all")
    rows = [
        [uid, *(f"{entry['figures']['improvement'][kind]:+.1%}" for kind in kinds)] for uid, entry in entries.items()
    ]
    return [markup.heading("Mean, structure, detail", 3), markup.table(["object", *kinds], rows)] if rows else []


def _surface(results: Results, folder: Path) -> list[str]:
    parts, rows = [], []
    for uid, entry in results.get("residual", {}).items():
        heat = _arrays(folder, "residual", uid)["heat"]
        parts.append(markup.heat_maps(list(heat), _WIDTH, f"{uid}: |T_pred - T_ref|, planes XY, XZ, YZ"))
        mean, p99 = (entry["figures"]["consistent"][key] for key in ("mean", "p99"))
        hidden = results.get("visibility", {}).get(uid)
        if hidden:
            groups = hidden["figures"]
            rows.append(
                [
                    uid,
                    f"{mean:.3f}",
                    f"{p99:.3f}",
                    f"{groups['consistent']['ratio']:.2f}",
                    f"{groups['by_normals']['ratio']:.2f}",
                    f"{groups['parity']['ratio']:.2f}",
                    f"{groups['views']['line']['r']:.2f}",
                ]
            )
    header = [
        "object",
        "colour error on the shell",
        "99 %",
        "hidden / visible",
        "by normals",
        "the study's",
        "r of L1, angle",
    ]
    return [markup.heading("Surface", 3), *parts, markup.table(header, rows)] if parts else []


def _nullspace(results: Results, folder: Path) -> list[str]:
    rows = []
    for uid, entry in results.get("nullspace", {}).items():
        figures = entry["figures"]
        whole, exact = figures["participation"], figures["small_view"]["participation"]
        rows.append(
            [
                uid,
                f"{figures['rms']['relative']:.2%}",
                f"{whole['spread']:.0f}",
                f"{whole['hutchinson']:.0f}",
                f"{whole['hutchinson_share']:.2%}",
                *(f"{exact[k]:.1f}" for k in ("svd", "spread", "hutchinson")),
            ]
        )
    header = [
        "object",
        "spread of answers",
        "PR by spread",
        "PR by probes",
        "of all numbers",
        "one small view: PR by SVD",
        "by spread",
        "by probes",
    ]
    text = "Participation ratio: a SMALL spread of the answers says that MANY directions matter."
    return [markup.heading("Null space", 3), markup.note(text), markup.table(header, rows)] if rows else []


def _refine(results: Results, folder: Path) -> list[str]:
    rows = []
    for uid, entry in results.get("refine", {}).items():
        for name, figures in entry["figures"].items():
            fitted, held = figures["fitted"], figures["held_out"]
            change = figures.get("held_out_l1_change")
            rows.append(
                [
                    uid,
                    name,
                    f"{fitted['l1']:.4f}",
                    f"{held['l1']:.4f}",
                    None if change is None else f"{change:+.1%}",
                    *(f"{held[k]:.3f}" if k in held else None for k in ("psnr", "ssim")),
                    f"{figures['fine_energy'] / figures['fine_energy_truth']:.2f}",
                ]
            )
    header = [
        "object",
        "optimised",
        "L1 fitted",
        "L1 held out",
        "change",
        "PSNR held out",
        "SSIM held out",
        "detail / truth's",
    ]
    return [markup.heading("Test-time optimisation", 3), markup.table(header, rows)] if rows else []


def _strip(groups: Sequence[np.ndarray], caption: str) -> str:
    """Rows of views (V, 3, R, R), one row a group."""
    rows = [np.concatenate(list(group), axis=2) for group in groups]
    return markup.image(np.clip(np.concatenate(rows, axis=1), 0, 1).transpose(1, 2, 0), _WIDTH // 2, caption)


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


def _arrays(folder: Path, experiment: str, uid: str) -> dict[str, np.ndarray]:
    path = folder / experiment / f"{uid}_{experiment}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the arrays ({error})", path) from error


def _protocol(results: Results) -> dict[str, Any]:
    entries = next(iter(results.values()))
    return next(iter(entries.values()))["protocol"]


def _camera(results: Results) -> str:
    return _protocol(results)["source_camera"]
