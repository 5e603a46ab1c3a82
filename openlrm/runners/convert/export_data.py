"""`export.data`: one object with its cameras -> `transforms.json` or a COLMAP model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import get_logger, setup_logging

logger = get_logger(__name__)


@dataclass
class ExportDataConfig:
    """Options of `export.data`."""

    input: str = option(help="folder of one object in any format that import.data reads, or a transforms.json")
    output: str = option(help="folder to write")
    form: str = option("transforms", "format to write", choices=["transforms", "colmap"])


class ExportData(Runner):
    """Export one object."""

    Config = ExportDataConfig
    summary = "Write an object with its cameras as nerfstudio's transforms.json, or as a COLMAP model in text."
    examples = (
        "python -m openlrm.launch export.data input=assets/sample_object/food_dinner output=outputs/food_dinner",
    )

    def run(self) -> int:
        """Write the folder."""
        from openlrm.datasets.readers.table import reader_of
        from openlrm.factory.exporter import export_capture

        cfg = self.config
        setup_logging()
        source = Path(cfg.input).expanduser()
        read = reader_of(source)
        if read is None:
            what = "nothing here tells the cameras" if source.exists() else "no such folder"
            raise UserError(what, source, "input is the folder of one object")
        capture = read(source)
        export_capture(capture, Path(cfg.output).expanduser(), cfg.form)
        logger.info("wrote %s: %d views", cfg.output, len(capture))
        return 0
