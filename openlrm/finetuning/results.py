"""Results of arms: what is written of them, and comparisons in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.analysis.paired import compare_paired, estimate
from openlrm.finetuning.measure import Measure, Measured, degraded
from openlrm.utils.images import save_image
from openlrm.utils.paths import atomic_path
from openlrm.utils.plain import plain

PICTURES = "views.npz"


def arm_results(baseline: Measured, arms: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Baseline, arms, objects made worse, and freq against std object by object.

    Args:
        baseline: the model before.
        arms: name -> facts of an arm.
    """
    found: dict[str, Any] = {"baseline": baseline.mean, "per_object": {"baseline": baseline.objects}}
    for name, facts in arms.items():
        after = Measured(facts["objects"], {})
        gains = {key: facts["mean"][key] - value for key, value in baseline.mean.items()}
        found[name] = facts | {"gain": gains, "degraded": degraded(baseline, after)}
        found["per_object"][name] = facts["objects"]
    names = list(arms)
    if len(names) == 2:
        first, second = (arms[name]["objects"] for name in names)
        found["paired_over_objects"] = {"first": names[0], "second": names[1]} | {
            key: comparison([first[uid][key] for uid in first], [second[uid][key] for uid in first])
            for key in baseline.mean
        }
    return found


def comparison(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """`openlrm.analysis.paired.compare_paired` as JSON holds it."""
    made = compare_paired(first, second)
    return plain(made._asdict() | {"difference": made.difference._asdict()})


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """`openlrm.analysis.paired.estimate` as JSON holds it; None for what a single value has not."""
    return plain(estimate(values)._asdict())


def write_pictures(folder: Path, measure: Measure, shown: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write `vis_<uid>.png`, a row of every model and the truth below, and their arrays in views.npz.

    Args:
        folder: of the run.
        measure: has the truth.
        shown: name of a row -> uid -> (V, 3, R, R).
    """
    arrays = {}
    for uid, (truth, _) in measure.truth.items():
        rows = [*(pictures[uid] for pictures in shown.values()), truth]
        sheet = np.concatenate([np.concatenate(list(row), axis=2) for row in rows], axis=1)
        save_image(folder / f"vis_{uid}.png", np.clip(sheet, 0, 1).transpose(1, 2, 0))
        arrays |= {f"{uid}/{name}": pictures[uid] for name, pictures in shown.items()} | {f"{uid}/truth": truth}
    with atomic_path(folder / PICTURES) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, **{key: (255 * np.clip(value, 0, 1) + 0.5).astype(np.uint8) for key, value in arrays.items()}
        )
