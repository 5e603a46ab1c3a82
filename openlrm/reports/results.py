"""Read what a run has left: the results of an evaluation, or the folder of a training run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from openlrm.errors import UserError
from openlrm.reports.metrics import Metric, metrics_among
from openlrm.utils.run_files import CONFIG as TRAINING
from openlrm.utils.run_files import MANIFEST, RECORDS

EVALUATION, PROTOCOL, PICTURES, SHEETS = "metrics.json", "protocol.yaml", "validation", "sheets"

HELD_OUT, TRAINED_ON, PARTLY_TRAINED_ON = "held-out", "training", "partly trained-on"
"""What a run calls the objects of its validation."""


@dataclass(frozen=True)
class Evaluation:
    """Results of `eval.lrm`.

    Attributes:
        folder: with metrics.json, protocol.yaml and sheets/.
        metrics: contents of metrics.json.
        protocol: contents of protocol.yaml; empty without one.
    """

    folder: Path
    metrics: dict[str, Any]
    protocol: dict[str, Any]

    @property
    def kind(self) -> str:
        """Which of an object's figures are shown first: with or without the input view."""
        return "with_input_view" if self.metrics["input_view_counts"] else "without_input_view"

    def figures(self, uid: str) -> dict[str, float | None]:
        """Return the figures of an object, those of its mesh with them."""
        return figures_of(self.metrics["objects"][uid], self.kind)

    def worst_first(self) -> list[str]:
        """Return the objects by their PSNR, those without one last."""

        def psnr(uid: str) -> float:
            value = self.figures(uid).get("psnr")
            return math.inf if value is None else value

        return sorted(self.metrics["objects"], key=lambda uid: (psnr(uid), uid))

    def sheet(self, uid: str) -> Path | None:
        """Return the picture of an object, if it is there and inside the folder."""
        path = self.folder / SHEETS / f"{uid}.png"
        inside = path.resolve().is_relative_to(self.folder.resolve())
        return path if inside and path.is_file() else None


@dataclass(frozen=True)
class TrainingRun:
    """A run folder of `train.lrm`.

    Attributes:
        folder: of the run.
        config: cfg.yaml, by dotted key.
        manifest: contents of manifest.json; empty without one.
        records: lines of metrics.jsonl; of a step that was done twice, after a resume, the later ones.
    """

    folder: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)

    def series(self, group: str, name: str) -> tuple[list[int], list[float]]:
        """Return steps and values of a number of the group "train", "validation" or "watch"."""
        chosen = [(step, values[name]) for step, values in self._of(group) if name in values]
        return [step for step, _ in chosen], [value for _, value in chosen]

    def names(self, group: str) -> list[str]:
        """Return the names of a group's numbers, in the order they come in."""
        found = (name for _, values in self._of(group) for name, value in values.items() if not isinstance(value, str))
        return list(dict.fromkeys(found))

    def last(self, group: str) -> dict[str, Any]:
        """Return the last values of a group, with their step; empty without any."""
        values = self._of(group)
        return {"step": values[-1][0]} | values[-1][1] if values else {}

    def pictures(self) -> list[tuple[int, Path]]:
        """Return step and file of the validation's pictures."""
        files = sorted((self.folder / PICTURES).glob("*.png"))
        return sorted((int(path.stem), path) for path in files if path.stem.isdecimal())

    def _of(self, group: str) -> list[tuple[int, dict[str, Any]]]:
        # "objects" marks a validation and "watch" a look for a collapse, among their numbers; "train" holds its own.
        mark = {"validation": "objects"}.get(group, group)
        found = {}
        for record in self.records:
            if mark in record:
                values = record["train"] if group == "train" else record
                found[record["step"]] = {name: value for name, value in values.items() if name not in ("step", mark)}
                found[record["step"]] |= {} if group == "train" else {mark: record[mark]}
        return sorted(found.items())


def read_result(path: str | os.PathLike) -> Evaluation | TrainingRun:
    """Read an evaluation or a training run.

    Args:
        path: folder with metrics.json, or one that holds a single such folder (OUTPUT_PATH of `eval.lrm`); or a run
            folder with cfg.yaml.

    Raises:
        UserError: no result there, more than one, or a file that cannot be read.
    """
    folder = Path(path)
    if (folder / EVALUATION).is_file():
        return _read_evaluation(folder)
    if (folder / TRAINING).is_file():
        return _read_training(folder)
    inside = sorted(file.parent for file in folder.glob(f"*/{EVALUATION}"))
    if len(inside) == 1:
        return _read_evaluation(inside[0])
    if inside:
        names = ", ".join(found.name for found in inside)
        raise UserError(f"several results ({names})", folder, f"choose one, such as {inside[-1]}")
    hint = f"give a folder of eval.lrm (with {EVALUATION}) or of train.lrm (with {TRAINING})"
    raise UserError("no result" if folder.is_dir() else "no such folder", folder, hint)


def figures_of(entry: dict[str, Any], kind: str) -> dict[str, float | None]:
    """Return the figures of an object or a mean, those of its mesh with them."""
    return (entry.get(kind) or {}) | (entry.get("mesh") or {})


def metrics_of(figures: dict[str, Any]) -> list[Metric]:
    """Return the metrics that have a value, those of meshes after the others."""
    return metrics_among(key for key, value in figures.items() if value is not None)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings by dotted key."""
    flat = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _read_evaluation(folder: Path) -> Evaluation:
    metrics = _mapping(folder / EVALUATION, json.loads)
    for key, kind in (("mean", dict), ("objects", dict), ("input_view_counts", bool)):
        if not isinstance(metrics.get(key), kind):
            raise UserError(f"{key!r} is not what eval.lrm writes", folder / EVALUATION)
    for uid, entry in metrics["objects"].items():
        if not isinstance(entry, dict):
            raise UserError(f"the figures of {uid!r} are not what eval.lrm writes", folder / EVALUATION)
    protocol = folder / PROTOCOL
    return Evaluation(folder, metrics, _mapping(protocol, yaml.safe_load) if protocol.is_file() else {})


def _read_training(folder: Path) -> TrainingRun:
    config = flatten(_mapping(folder / TRAINING, yaml.safe_load))
    manifest = folder / MANIFEST
    return TrainingRun(
        folder, config, _mapping(manifest, json.loads) if manifest.is_file() else {}, _read_records(folder / RECORDS)
    )


def _read_records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    records = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break  # the run was killed while it wrote
            raise UserError(f"line {number} is no JSON ({error})", path) from error
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise UserError(f"line {number} has no step", path)
        records.append(record)
    return records


def _mapping(path: Path, parse: Any) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read it ({error})", path) from error
    if not isinstance(content, dict):
        raise UserError("not a mapping", path)
    return content
