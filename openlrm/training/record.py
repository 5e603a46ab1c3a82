"""What a run tells while it goes on: the log, metrics.jsonl, TensorBoard, report.html."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openlrm.errors import UserError
from openlrm.reports import write_report
from openlrm.reports.results import HELD_OUT
from openlrm.training.board import Board, grid
from openlrm.training.watch import Look, advice
from openlrm.utils.images import save_image
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import ensure_dir
from openlrm.utils.run_files import RECORDS

if TYPE_CHECKING:
    from openlrm.training.update import StepReport
    from openlrm.training.validation import Validation

logger = get_logger(__name__)


class RunRecord:
    """Keeps the record of a run; open it with `with`, its page is written at the end.

    Args:
        folder: of the run.
        writes: whether files are written: by the leading worker alone. All of them log.
    """

    def __init__(self, folder: Path, writes: bool):
        self.folder, self.writes = folder, writes

    def __enter__(self) -> RunRecord:
        self.board = Board(self.folder if self.writes else None)
        return self

    def __exit__(self, *error: object) -> None:
        self.board.close()
        self.write_page()

    def step(self, step: int, done: StepReport) -> None:
        """Loss, its parts, norm and rate of a step."""
        values = done.parts | {"gradient_norm": done.norm, "learning_rate": done.rate}
        logger.info("step %d: %s", step, ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
        self.board.scalars("train", values, step)
        self._add(step, {"train": values})

    def regions(self, step: int, truth: np.ndarray, shown: np.ndarray) -> None:
        """What a step was to render, and what it rendered: (N, M, 3, R, R) each."""
        self.board.picture("train/regions", grid(truth, shown), step)

    def look(self, step: int, look: Look, state: str) -> None:
        """What the collapse watch saw, and what it makes of it."""
        self.board.scalars("watch", look.scalars(), step)
        numbers = ", ".join(f"{key} {value:.3g}" for key, value in look.scalars().items())
        if hint := advice(state):
            logger.warning("step %d, collapse watch: %s (%s); %s", step, state, numbers, hint)
        else:
            logger.info("step %d, collapse watch: %s (%s)", step, state, numbers)
        self._add(step, {"watch": state} | look.scalars())

    def validation(self, step: int, result: Validation) -> None:
        """Figures and pictures of a validation, what its objects are called, which they are; the page anew."""
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in result.scalars.items())
        logger.info("step %d, %s objects: %s", step, result.kind, numbers)
        self.board.scalars("validation", result.scalars, step)
        self.board.picture("validation/views", result.sheet, step)
        save_image(self.folder / "validation" / f"{step:07d}.png", result.sheet)
        self._add(step, {"objects": result.kind, "measured": result.measured} | result.scalars)
        self.write_page()

    def starting_psnr(self, measured: str) -> float | None:
        """PSNR of these held-out objects before the first step, which a resumed run finds too; None without one."""
        for line in (self.folder / RECORDS).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # half a line, of a run that was killed
                record = json.loads(line)
                if record["step"] == 0 and (record.get("objects"), record.get("measured")) == (HELD_OUT, measured):
                    return record["psnr"]
        return None

    def write_page(self) -> None:
        """Write report.html; training goes on when that fails."""
        if not self.writes:
            return
        try:
            write_report(self.folder)
        except UserError as error:
            logger.warning("no report: %s", error)

    def _add(self, step: int, values: dict) -> None:
        if not self.writes:
            return
        try:
            with open(ensure_dir(self.folder) / RECORDS, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step} | values) + "\n")
        except OSError as error:  # a full disk; the next checkpoint says so
            logger.warning("not recorded (%s): %s", error.strerror, self.folder / RECORDS)
