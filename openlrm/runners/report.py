"""`report`: the results in a folder -> an HTML page."""

from __future__ import annotations

from dataclasses import dataclass

from openlrm.config import option
from openlrm.runners.base import Runner


@dataclass
class ReportConfig:
    """Options of `report`."""

    run: str = option(help="folder of a training run, or results of an evaluation", positional=True)


class Report(Runner):
    """Write the page again, of a run that goes on or was made before there were pages."""

    Config = ReportConfig
    summary = (
        "Write report.html into the folder of a training run (curves, validation pictures) or of an evaluation "
        "(tables, sheets, worst objects first). train.lrm and eval.lrm write it themselves. One file, nothing is "
        "fetched."
    )
    examples = (
        "python -m openlrm.launch report outputs/tiny/TIME",
        "python -m openlrm.launch report output/small/e100000",
    )

    def run(self) -> None:
        """Write the page; its path is the one line on standard output."""
        from openlrm.reports import write_report

        print(write_report(self.config.run))
