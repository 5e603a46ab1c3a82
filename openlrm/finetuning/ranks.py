"""Ranks against each other, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openlrm.finetuning.config import RanksConfig
from openlrm.finetuning.measure import Measured
from openlrm.finetuning.results import comparison, interval
from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.utils.paths import atomic_path


def rank_results(config: RanksConfig, baseline: Measured, facts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds for every rank and loss, freq against std seed by seed, and whether a rank is the best.

    Args:
        config: ranks, seeds and losses.
        baseline: the model before.
        facts: of every cell, by the name of its folder.
    """

    def values(rank: int, arm: str, key: str) -> list[float]:
        return [facts[f"r{rank}_s{seed}_{arm}"]["mean"][key] for seed in config.seeds]

    keys = list(baseline.mean)
    cells = {
        f"r{rank}": {arm: {key: interval(values(rank, arm, key)) for key in keys} for arm in config.arms}
        for rank in config.ranks
    }
    parameters = {
        f"r{rank}": facts[f"r{rank}_s{config.seeds[0]}_{config.arms[0]}"]["trained_numbers"] for rank in config.ranks
    }
    paired = {}
    if len(config.arms) == 2:
        first, second = config.arms
        paired = {
            f"r{rank}": {key: comparison(values(rank, first, key), values(rank, second, key)) for key in keys}
            for rank in config.ranks
        }
    shown = "lpips" if "lpips" in keys else "l1"
    best = best_rank({rank: cells[f"r{rank}"][config.arms[-1]][shown] for rank in config.ranks}, shown)
    found = {"baseline": baseline.mean, "cells": cells, "parameters": parameters, "paired": paired, "best_rank": best}
    return found | {"runs": dict(facts)}


def best_rank(cells: Mapping[int, dict[str, Any]], key: str) -> dict[str, Any]:
    """The rank with the least mean; it is called best only if its interval is clear of the next.

    Args:
        cells: rank -> estimate of a figure of which less is better.
        key: name of the figure.
    """
    order = sorted(cells, key=lambda rank: cells[rank]["mean"])
    best = order[0]
    clear = False
    if len(order) > 1 and cells[best]["high"] is not None and cells[order[1]]["low"] is not None:
        clear = cells[best]["high"] < cells[order[1]]["low"]
    verdict = f"rank {best} is best in {key}" if clear else f"no rank is best in {key}: the intervals overlap"
    return {"rank": best if clear else None, "least_mean": best, "figure": key, "verdict": verdict}


def rank_page(path: Path, results: dict[str, Any]) -> None:
    """Write tables and curves, figures against the number of parameters."""
    names, parts = list(results["cells"]), [markup.note(results["best_rank"]["verdict"])]
    arms = list(next(iter(results["cells"].values())))
    keys = list(results["baseline"])
    rows = [["base model", "", *(f"{results['baseline'][key]:.4f}" for key in keys)]]
    for name in names:
        for arm in arms:
            cell = results["cells"][name][arm]
            told = [f"{cell[key]['mean']:.4f} ± {cell[key]['std']:.4f}" if cell[key]["std"] is not None
                    else f"{cell[key]['mean']:.4f}" for key in keys]  # fmt: skip
            rows.append([name, arm, *told])
    parts += [markup.table(["rank", "loss", *keys], rows), '<div class="charts">']
    for key in keys:
        sizes = [results["parameters"][name] for name in names]
        curves = [
            Curve(arm, sizes, [results["cells"][name][arm][key]["mean"] for name in names], colour)
            for colour, arm in enumerate(arms)
        ]
        curves.append(Curve("base model", sizes, [results["baseline"][key]] * len(sizes), 6, dashed=True))
        parts.append(line_chart(key, curves, "parameters"))
    parts.append("</div>")
    with atomic_path(path) as temporary:
        temporary.write_text(markup.page(f"Ranks of adapters on {results['model']}", parts), encoding="utf-8")
