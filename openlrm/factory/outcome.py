"""The rendered set as a whole: which objects are usable, which are for validation, and where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openlrm.factory.split import is_validation
from openlrm.factory.work import DONE, FAILED, FLAGGED, inspect, is_complete
from openlrm.utils.paths import atomic_path
from openlrm.utils.tree import walk


@dataclass
class Outcome:
    """What is in the output folder.

    Attributes:
        records: render.json by uid, of all complete objects, in the order of their names.
        inspected: what the inspection said of each: state, reason, stats, seconds (0 if not known).
        failed: last reason by uid of what the logs say failed and is not there.
        train: usable objects for training.
        val: usable objects for validation.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    inspected: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    train: list[str] = field(default_factory=list)
    val: list[str] = field(default_factory=list)

    @property
    def flagged(self) -> dict[str, str]:
        """Reason by uid of the objects that are there but not used."""
        return {uid: found["reason"] for uid, found in self.inspected.items() if found["state"] == FLAGGED}

    def describe(self, output: Path) -> str:
        """Counts of what is in the output folder, and the first reasons why objects are not used."""
        lines = [
            f"{output}: {len(self.train)} objects for training, {len(self.val)} for validation, "
            f"{len(self.flagged)} flagged, {len(self.failed)} failed"
        ]
        for state, reasons in (("flagged", self.flagged), ("failed", self.failed)):
            lines += [f"  {state} {uid}: {reason}" for uid, reason in list(reasons.items())[:10]]
            if len(reasons) > 10:
                lines.append(f"  ... {len(reasons) - 10} more: data_card.md")
        return "\n".join(lines)


def take_stock(output: Path, logs: dict[str, list[dict[str, Any]]], val_share: float) -> Outcome:
    """Look through the output folder.

    Args:
        output: folder of rendered objects.
        logs: from `read_logs`; a complete object without a line, whose driver was killed, is inspected now.
        val_share: share of the usable objects for validation, by the hash of their names. If that would leave
            nothing to train on, all are for training.
    """
    outcome = Outcome()
    for uid in sorted(_complete(output)):
        try:
            record = json.loads((output / uid / "render.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = {}
        outcome.records[uid] = record if isinstance(record, dict) else {}
        lines = [line for line in logs.get(uid, []) if line["state"] in (DONE, FLAGGED)]
        if lines:
            outcome.inspected[uid] = {"reason": "", "stats": {}, "seconds": 0.0} | lines[-1]
        else:
            state, reason, stats = inspect(str(output), uid)
            outcome.inspected[uid] = {"state": state, "reason": reason, "stats": stats, "seconds": 0.0}
    for uid, lines in sorted(logs.items()):
        if uid not in outcome.records and lines[-1]["state"] == FAILED:
            outcome.failed[uid] = str(lines[-1].get("reason", ""))
    usable = [uid for uid, found in outcome.inspected.items() if found["state"] == DONE]
    outcome.train = [uid for uid in usable if not is_validation(uid, val_share)] or usable
    outcome.val = [uid for uid in usable if uid not in set(outcome.train)]
    return outcome


def write_lists(output: Path, outcome: Outcome) -> None:
    """Write meta.json (training), meta_val.json (validation, if there are any) and manifest.jsonl (all).

    A line of the manifest has uid, split (`train`, `val` or `flagged`), object, sha256, asset (what the file says of
    its author and licence), views and warnings.
    """
    for name, uids in (("meta.json", outcome.train), ("meta_val.json", outcome.val)):
        if uids:
            with atomic_path(output / name) as temporary:
                temporary.write_text(json.dumps(uids, indent=1) + "\n", encoding="utf-8")
        else:
            # An empty list is an error to all readers; one of an earlier run would be wrong.
            (output / name).unlink(missing_ok=True)
    splits = dict.fromkeys(outcome.train, "train") | dict.fromkeys(outcome.val, "val")
    with atomic_path(output / "manifest.jsonl") as temporary, temporary.open("w", encoding="utf-8") as stream:
        for uid, record in outcome.records.items():
            kept = {name: record.get(name) for name in ("object", "sha256", "asset", "views", "warnings")}
            stream.write(json.dumps({"uid": uid, "split": splits.get(uid, "flagged"), **kept}) + "\n")


def _complete(output: Path) -> list[str]:
    """Return the uids of all complete objects; a uid may be a path."""
    found = []
    for here, below, _ in walk(output):
        if here != output and (here / "rgba").is_dir():
            below.clear()
            if is_complete(here.parent, here.name):
                found.append(here.relative_to(output).as_posix())
        else:
            below[:] = [name for name in below if not name.endswith(".part")]
    return found
