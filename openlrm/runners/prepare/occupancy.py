"""`prepare.occupancy`: depth maps of rendered objects -> which cells of a grid their surfaces are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging
from openlrm.utils.paths import atomic_path, check_output, ensure_dir

logger = get_logger(__name__)


@dataclass
class PrepareOccupancyConfig:
    """Options of `prepare.occupancy`."""

    root: str = option(help="folder of rendered objects with depth/, or its fsspec address (s3://...)")
    output: str = option("outputs/occupancy", "folder for the results, <uid>/pts.npy")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    meta_path: Optional[str] = option(None, "JSON list of uids; root/meta.json without it")  # noqa: UP045
    grid_size: int = option(128, "cells a side", minimum=4, maximum=512)
    voxels: str = option(
        "centres",
        "which cell a point is in: centres floor((p + 0.5) G); corners round(...), as published",
        choices=["centres", "corners"],
    )
    shard: str = option("0/1", "do every n-th object from the i-th on: i/n, i from 0")
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


class PrepareOccupancy(Runner):
    """Go through the objects; what is there already is left, so it goes on where it stopped."""

    Config = PrepareOccupancyConfig
    summary = (
        "Write which cells of the cube hold an object's surface, from its depth maps (render.objaverse maps=[depth]), "
        "for train.geolrm data.occupancy=OUTPUT."
    )
    examples = (
        "python -m openlrm.launch prepare.occupancy --root data/objects output=outputs/occupancy",
        "python -m openlrm.launch prepare.occupancy --root data/objects --shard 2/8",
    )

    def run(self) -> int:
        """Write the results; a user's error when some objects failed."""
        from tqdm import tqdm

        from openlrm.datasets.objaverse import list_uids, read_object, read_uids
        from openlrm.families.geolrm.occupancy import POINTS, occupied_cells

        cfg = self.config
        setup_logging(cfg.logger)
        first, step = _shard(cfg.shard)
        uids = (read_uids(cfg.meta_path) if cfg.meta_path else list_uids(cfg.root))[first::step]
        check_output(Path(cfg.output) / "uid" / POINTS)
        done = failed = 0
        for uid in tqdm(uids, desc="occupancy", unit="object"):
            path = Path(cfg.output) / uid / POINTS
            if path.is_file():
                continue
            try:
                cells = occupied_cells(read_object(cfg.root, uid), cfg.grid_size, cfg.voxels)
            except UserError as error:
                logger.error("%s", error)
                failed += 1
                continue
            ensure_dir(path.parent)
            kind = np.uint8 if cfg.grid_size <= 256 else np.uint16
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array(file, cells.astype(kind), allow_pickle=False)
            done += 1
        logger.info("%d written, %d were there, %d failed", done, len(uids) - done - failed, failed)
        if failed:
            raise UserError(f"{failed} of {len(uids)} objects failed", cfg.root, "the lines above say why")
        return 0


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(f"shard={text} is not i/n with i below n", hint="such as shard=0/8")
    return int(match[1]), int(match[2])
