"""The data card: what is in a rendered set, where it comes from and under which licences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from openlrm.factory.outcome import Outcome
from openlrm.utils.paths import atomic_path

_SHOWN = 50


def write_data_card(output: Path, outcome: Outcome, licence: str | None, source: str | None) -> None:
    """Write data_card.md.

    Args:
        output: folder of rendered objects.
        outcome: what is in it.
        licence: of the objects whose files do not tell.
        source: where the objects come from.
    """
    used = [outcome.records[uid] for uid in (*outcome.train, *outcome.val)]
    parts = [
        f"# {output.resolve().name}",
        "",
        "Objects rendered with Blender in the layout of docs/data.md, by `python -m openlrm.launch render.objaverse`.",
        "Files that hold animations are rendered at rest; their own cameras and lamps are left out.",
        "",
        "## Counts",
        *_table(_counts(outcome)),
        "",
        "## Sources and licences",
        f"Source: {_cell(source or 'not stated (option source)')}",
        "",
        *_table(_licences(used, licence), ("licence", "objects")),
        "",
        "Title, author, licence and address of every object, as its file tells them, are in `manifest.jsonl`.",
        "",
        "## Statistics of the usable objects",
        *_table(_statistics(outcome)),
        "",
        "## Settings",
        "```json",
        json.dumps(used[0].get("settings", {}) if used else {}, indent=1),
        "```",
    ]
    for title, reasons in (("Flagged: rendered, but not used", outcome.flagged), ("Failed", outcome.failed)):
        if reasons:
            parts += ["", f"## {title}", *_table(dict(list(reasons.items())[:_SHOWN]), ("object", "reason"))]
            if len(reasons) > _SHOWN:
                parts.append(f"\n... and {len(reasons) - _SHOWN} more: `render_log*.jsonl`")
    with atomic_path(output / "data_card.md") as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _counts(outcome: Outcome) -> dict[str, object]:
    warnings = Counter(kind for record in outcome.records.values() for kind in record.get("warnings") or {})
    return {
        "for training (meta.json)": len(outcome.train),
        "for validation (meta_val.json)": len(outcome.val),
        "rendered but flagged": len(outcome.flagged),
        "failed": len(outcome.failed),
        **{f"warning: {kind}": count for kind, count in sorted(warnings.items())},
    }


def _licences(records: Iterable[dict], default: str | None) -> dict[str, int]:
    assets = [record.get("asset") or {} for record in records]
    said = [asset.get("license") or asset.get("copyright") or default or "not stated" for asset in assets]
    return dict(Counter(said).most_common(_SHOWN))


def _statistics(outcome: Outcome) -> dict[str, str]:
    uids = [*outcome.train, *outcome.val]
    found = [outcome.inspected[uid] for uid in uids]
    stats = [entry["stats"] for entry in found]
    distances = [value for entry in stats for value in entry.get("distance", [])]
    rows = {
        "views of an object": [outcome.records[uid].get("views") for uid in uids],
        "camera distance": distances,
        "share of the object in a view, mean by object": [entry.get("coverage") for entry in stats],
        "luminance of the object, mean by object": [entry.get("luminance") for entry in stats],
        "seconds to render an object": [entry["seconds"] or None for entry in found],
    }
    return {name: _range([value for value in values if value is not None]) for name, values in rows.items()}


def _range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[0]:.4g} to {ordered[-1]:.4g}, median {ordered[len(ordered) // 2]:.4g}"


def _table(rows: dict, head: tuple[str, str] = ("", "")) -> list[str]:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *lines]


def _cell(value: object) -> str:
    """Return a value as one cell: what a file says of itself must not become markup of ours."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
