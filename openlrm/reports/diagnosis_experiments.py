"""Sections of a diagnosis' page: what every experiment found, its curves and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.reports.findings import Results

_BANDS = ("low", "middle", "high", "corners")
_WIDTH = 900


def experiment_sections(results: Results, folder: Path) -> list[str]:
    """HTML of every experiment that was made with one source camera.

    Args:
        results: experiment -> uid -> JSON.
        folder: where their arrays are.

    Raises:
        UserError: arrays that cannot be read.
    """
    sections = (_oracle, _spectrum, _transfer, _correction, _decomposition, _surface, _nullspace, _refine)
    return [part for section in sections for part in section(results, folder)]


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


def _arrays(folder: Path, experiment: str, uid: str) -> dict[str, np.ndarray]:
    path = folder / experiment / f"{uid}_{experiment}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the arrays ({error})", path) from error
