"""HTML pages of results: one file each, opened from disk, nothing fetched."""

from openlrm.reports.comparison import compare
from openlrm.reports.evaluation import evaluation_page
from openlrm.reports.results import Evaluation, TrainingRun, read_result
from openlrm.reports.training import training_page
from openlrm.reports.write import REPORT, write_report

__all__ = [
    "REPORT",
    "Evaluation",
    "TrainingRun",
    "compare",
    "evaluation_page",
    "read_result",
    "training_page",
    "write_report",
]
