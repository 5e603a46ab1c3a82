"""Put the page of a result beside it."""

from __future__ import annotations

import os
from pathlib import Path

from openlrm.reports.diagnosis import is_diagnosis, write_diagnosis_page
from openlrm.reports.evaluation import evaluation_page
from openlrm.reports.results import Evaluation, read_result
from openlrm.reports.training import training_page
from openlrm.utils.paths import atomic_path

REPORT = "report.html"


def write_report(folder: str | os.PathLike) -> Path:
    """Write report.html into the folder of an evaluation, of a training run, or of a diagnosis.

    Args:
        folder: see `read_result`.

    Returns:
        The page.

    Raises:
        UserError: no result there, or its files cannot be read.
    """
    if is_diagnosis(Path(folder)):
        return write_diagnosis_page(Path(folder))
    result = read_result(folder)
    page = evaluation_page(result) if isinstance(result, Evaluation) else training_page(result)
    path = result.folder / REPORT
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
