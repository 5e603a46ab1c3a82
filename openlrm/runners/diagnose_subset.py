"""`diagnose.subset`: a small set of objects with a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.runners.base import Runner
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

logger = get_logger(__name__)


@dataclass
class SubsetConfig:
    """Options of `diagnose.subset`."""

    output: str = option("outputs/subset", "folder of the objects: rendered ones (render.objaverse), or drawn into it")
    shapes: int = option(0, "draw so many objects of spheres, boxes and tori; no Blender needed", minimum=0)
    num_objects: int = option(50, "objects chosen of those in the folder, when none are drawn", minimum=1)
    num_views: int = option(32, "views of a drawn object", minimum=2)
    resolution: int = option(128, "side in pixels of a drawn view", minimum=16, maximum=1024)
    seed: int = option(42, "of shapes, choice and split", minimum=0, maximum=MAX_SEED)


class DiagnoseSubset(Runner):
    """Draw or choose objects, and split them."""

    Config = SubsetConfig
    summary = (
        "Choose objects of a rendered folder, or draw some with no Blender, and write meta/{all,train,val}_uids.json, "
        "four fifths for training: the lists that diagnose.* and finetune.* take. Objects drawn earlier are kept."
    )
    examples = (
        "python -m openlrm.launch diagnose.subset output=outputs/shapes shapes=24",
        "python -m openlrm.launch diagnose.subset output=outputs/renders num_objects=50",
    )

    def run(self) -> int:
        """Write the objects that are missing, then the lists."""
        cfg = self.config
        setup_logging()
        root = Path(cfg.output)
        check_output(root / "meta" / "all_uids.json")
        from openlrm.diagnosis.objects import list_objects
        from openlrm.diagnosis.subset import choose, write_split

        uids = self._draw(root) if cfg.shapes else choose(list_objects(cfg.output), cfg.num_objects, cfg.seed)
        parts = write_split(root, uids, cfg.seed)
        logger.info("%s: %d for training, %d for validation", root / "meta", len(parts["train"]), len(parts["val"]))
        return 0

    def _draw(self, root: Path) -> list[str]:
        from tqdm import tqdm

        from openlrm.factory.shapes import render_shapes

        cfg = self.config
        uids = [f"shapes_{number:03d}" for number in range(cfg.shapes)]
        for number, uid in enumerate(tqdm(uids, desc="draw", unit="object")):
            if not (root / uid).is_dir():
                render_shapes(root, uid, cfg.num_views, cfg.resolution, (cfg.seed, number))
        return uids
