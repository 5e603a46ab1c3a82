"""`check.data`: inspect a folder of rendered objects before training on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.runners.base import Runner
from openlrm.utils.logging import setup_logging

if TYPE_CHECKING:
    from openlrm.datasets.inspection import ObjectReport, Problem
    from openlrm.datasets.storage import Place


@dataclass
class CheckDataConfig:
    """Options of `check.data`."""

    root: str = option(help="folder of objects in the Objaverse layout, or its fsspec address (s3://...)")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    meta_path: Optional[str] = option(  # noqa: UP045
        None, "JSON list of uids; root/meta.json without it. Folders it does not list are not mentioned then"
    )
    limit: Optional[int] = option(None, "inspect the first so many objects", minimum=1)  # noqa: UP045
    num_workers: int = option(1, "processes that read objects", minimum=1, alias="num_parallel_workers")
    sheet: Optional[str] = option(  # noqa: UP045
        None, "contact sheet with the axes drawn in; outputs/check/<name of root>.png without it"
    )
    sheet_objects: int = option(8, "objects on the sheet, those with problems first; 0 draws none", minimum=0)
    write_meta: Optional[str] = option(None, "write the list of usable objects to this JSON file")  # noqa: UP045


class CheckData(Runner):
    """Read everything, say what is wrong."""

    Config = CheckDataConfig
    summary = (
        "Inspect every object of a set: unreadable views, broken poses, wrong axis conventions (told by the "
        "silhouettes), blank, black or clipped renders, lists that do not fit the folders. Prints a line for each "
        "problem and a summary, draws a contact sheet with the world axes. The exit code is 1 when there are problems."
    )
    examples = (
        "python -m openlrm.launch check.data --root assets/sample_object",
        "python -m openlrm.launch check.data --root /data/objects num_workers=8 limit=1000 write_meta=clean.json",
    )

    def run(self) -> int:
        """Inspect; the exit code is 1 when there are problems."""
        from openlrm.datasets.index import compare_list
        from openlrm.datasets.storage import open_place
        from openlrm.utils.paths import atomic_path, check_output

        cfg = self.config
        setup_logging()
        root = open_place(cfg.root)
        for path in (cfg.write_meta, cfg.sheet_objects and self._sheet(root)):
            if path:
                check_output(path)
        uids, problems = compare_list(root, cfg.meta_path)
        _show(problems)
        reports = []
        for report in self._inspect(root, uids[: cfg.limit]):
            reports.append(report)
            _show(report.problems)
            problems += report.problems
        uneven = _note_uneven(root, reports)
        _show(uneven)
        problems += uneven
        print(_summary(str(root), reports, problems))
        if cfg.sheet_objects and reports:
            self._draw(root, reports)
        if cfg.write_meta:
            usable = [report.uid for report in reports if report.usable]
            with atomic_path(cfg.write_meta) as temporary:
                Path(temporary).write_text(json.dumps(usable, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {cfg.write_meta}: {len(usable)} usable objects")
        return 1 if any(not problem.harmless for problem in problems) else 0

    def _inspect(self, root: Place, uids: list[str]) -> Iterator[ObjectReport]:
        from tqdm import tqdm

        from openlrm.datasets.inspection import inspect_object

        inspect = partial(inspect_object, root)
        bar = partial(tqdm, total=len(uids), desc="inspect", unit="object", disable=None)
        if self.config.num_workers == 1:
            yield from bar(map(inspect, uids))
            return
        with ProcessPoolExecutor(self.config.num_workers) as pool:
            yield from bar(pool.map(inspect, uids, chunksize=4))

    def _sheet(self, root: Place) -> str:
        return self.config.sheet or f"outputs/check/{root.name or 'objects'}.png"

    def _draw(self, root: Place, reports: list[ObjectReport]) -> None:
        from openlrm.datasets.contact_sheet import draw_sheet

        suspects = [report.uid for report in reports if not report.usable]
        others = [report.uid for report in reports if report.usable]
        # Half of the rows at most for the suspects, as far as there are others.
        count = min(self.config.sheet_objects, len(reports))
        suspects = _spread(suspects, min(len(suspects), max(count // 2, count - len(others))))
        chosen = suspects + _spread(others, count - len(suspects))
        path = self._sheet(root)
        draw_sheet(path, root, chosen)
        print(f"wrote {path}: the axes must stick to the objects")


def _spread(uids: list[str], count: int) -> list[str]:
    return [uids[i * len(uids) // count] for i in range(count)]


def _show(problems: list[Problem]) -> None:
    from tqdm import tqdm

    for problem in problems:
        # Above the progress bar, which goes to standard error.
        tqdm.write(f"{'note' if problem.harmless else 'PROBLEM'} {problem.kind}: {problem.text}")


def _note_uneven(root: Place, reports: list[ObjectReport]) -> list[Problem]:
    """Note in the reports which objects have another number of views than most, and return these notes."""
    from openlrm.datasets.inspection import Problem

    counts = Counter(report.views for report in reports if report.views)
    if not counts:
        return []
    usual, times = counts.most_common(1)[0]
    noted = []
    for report in reports:
        if report.views not in (0, usual):
            text = f"{report.views} views, where {times} of {len(reports)} objects have {usual}: {root / report.uid}"
            noted.append(Problem("count", text))
            report.problems.append(noted[-1])
    return noted


def _summary(root: str, reports: list[ObjectReport], problems: list[Problem]) -> str:
    rows = {
        "objects inspected": str(len(reports)),
        "without a problem": str(sum(report.usable for report in reports)),
        "views": _counted(report.views for report in reports),
        "side, pixels": _counted(side for report in reports for side in report.sides),
        "camera distance": _range([value for report in reports for value in report.distances]),
        "share of the object in a view": _range([value for report in reports for value in report.coverage]),
        "luminance of the object": _range([value for report in reports for value in report.luminance]),
        "poses fit silhouettes (1 = all)": _range([r.agreement for r in reports if r.agreement is not None]),
    }
    for kind, count in sorted(Counter(problem.kind for problem in problems if not problem.harmless).items()):
        rows[f"PROBLEM {kind}"] = str(count)
    for kind, count in sorted(Counter(problem.kind for problem in problems if problem.harmless).items()):
        rows[f"note {kind}"] = str(count)
    width = max(map(len, rows))
    return "\n".join([f"{root}:", *(f"  {name:{width}}  {value}" for name, value in rows.items())])


def _counted(values: Iterable[int]) -> str:
    return ", ".join(f"{value} ({count} x)" for value, count in Counter(values).most_common(5)) or "-"


def _range(values: list[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[0]:.3g} to {ordered[-1]:.3g}, median {ordered[len(ordered) // 2]:.3g}"
