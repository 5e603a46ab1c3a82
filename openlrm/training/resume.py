"""Which run is gone on with, and whether it may be with these options."""

from __future__ import annotations

from pathlib import Path

from openlrm.errors import UserError
from openlrm.parallel import World
from openlrm.training.config import RunConfig
from openlrm.training.run_folder import changed_options, find_run, workers_of
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# A resumed run may not differ from the first in these: its state would not fit, or the draws would be others.
_FIXED = (
    "model.",
    "data.",
    "seed",
    "train.gradient_accumulation_steps",
    "train.overfit",
    "train.only",
    "train.freeze",
)
_FIXED_EXCEPT = ("data.cache_mib", "data.max_broken")


def resumed_folder(config: RunConfig, world: World) -> Path | None:
    """Folder of the run that `saver.resume` names; None for a new run. Options that changed are told.

    Raises:
        UserError: there is no such run, or its options do not allow it.
    """
    saver = config.saver
    if saver.resume is None:
        return None
    folder = find_run(saver.output_path, saver.name, saver.resume)
    changed = changed_options(folder, config)
    size = config.train.batch_size
    batch_then, _ = changed.pop("train.batch_size", (size, size))
    _check_batch(folder, batch_then, workers_of(folder), size, world.size)
    wrong = {key: pair for key, pair in changed.items() if key.startswith(_FIXED) and key not in _FIXED_EXCEPT}
    if wrong:
        listed = ", ".join(f"{key} {then} -> {now}" for key, (then, now) in wrong.items())
        raise UserError(f"options differ from the run's: {listed}", folder, f"give --config {folder}/cfg.yaml")
    told = {key: pair for key, pair in changed.items() if not key.startswith("saver.")}
    for key, (then, now) in told.items():
        logger.info("resumed with %s=%s (was %s)", key, now, then)
    return folder


def _check_batch(folder: Path, objects: int, workers: int, size_now: int, workers_now: int) -> None:
    """Refuse another number of objects a step: `objects` on each of `workers` is what the run began with."""
    begun, now = objects * workers, size_now * workers_now
    if begun == now:
        return
    what = f"a step of the run takes {begun} objects ({objects} on each of {workers} workers), not {now}"
    fitting = f"no share for {workers_now} workers"
    if begun % workers_now == 0:
        fitting = f"give train.batch_size={begun // workers_now}"
    raise UserError(what, folder, f"{fitting}: the draws would be others")
