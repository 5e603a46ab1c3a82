"""Runs of fine-tuning side by side, object by object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.errors import UserError
from openlrm.finetuning.results import PICTURES
from openlrm.finetuning.session import object_table
from openlrm.reports import markup
from openlrm.utils.images import save_image
from openlrm.utils.paths import atomic_path, ensure_dir


def compare_runs(runs: Sequence[Path], output: Path) -> Path:
    """Write `<uid>.png`, rows base, every arm and truth, and compare.html with the figures under each.

    Args:
        runs: folders with results.json and views.npz.
        output: folder.

    Returns:
        The page.

    Raises:
        UserError: a run without results, or runs that measured different objects.
    """
    read = [_read(run) for run in runs]
    objects = list(read[0][0]["per_object"]["baseline"])
    for run, (results, _) in zip(runs, read, strict=True):
        if list(results["per_object"]["baseline"]) != objects:
            raise UserError("the runs measured different objects", run, f"the first one measured {', '.join(objects)}")
    merged: dict[str, Any] = {"baseline": read[0][0]["baseline"], "per_object": {}}
    pictures: dict[str, np.ndarray] = {}
    names: list[str] = []
    for results, arrays in read:
        merged["per_object"] |= results["per_object"]
        names += [name for name in results["history"] if name not in names]
        merged |= {name: results[name] for name in results["history"]}
        pictures |= arrays
    ensure_dir(output)
    parts = [markup.heading("Objects"), object_table(merged, names)]
    for uid in objects:
        rows = [np.concatenate(list(pictures[f"{uid}/{name}"]), axis=2) for name in ("baseline", *names, "truth")]
        save_image(output / f"{uid}.png", np.concatenate(rows, axis=1).transpose(1, 2, 0))
        parts.append(markup.picture(output / f"{uid}.png", 1100, f"{uid}: base, {', '.join(names)}, truth"))
    with atomic_path(output / "compare.html") as temporary:
        temporary.write_text(markup.page(f"Fine-tuning of {read[0][0]['model']}", parts), encoding="utf-8")
    return output / "compare.html"


def _read(run: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        with np.load(run / PICTURES, allow_pickle=False) as arrays:
            return results, dict(arrays)
    except (OSError, ValueError) as error:
        raise UserError(f"no results of finetune.lora or finetune.full ({error})", run) from error
