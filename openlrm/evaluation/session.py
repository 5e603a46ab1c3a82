"""An evaluation from beginning to end: all objects, on all workers, and the files that tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from openlrm.datasets import object_views
from openlrm.errors import UserError
from openlrm.evaluation.objects import find_root
from openlrm.evaluation.report import write_csv, write_json, write_yaml
from openlrm.evaluation.summary import describe, log_lines, summarise
from openlrm.reports import write_report
from openlrm.utils.logging import get_logger
from openlrm.utils.run_files import Training

if TYPE_CHECKING:
    from openlrm.checkpoint import LocatedModel
    from openlrm.evaluation.evaluator import Evaluator
    from openlrm.parallel import World

logger = get_logger(__name__)

Results = dict[str, dict[str, Any]]
"""uid -> figures."""


def evaluate_objects(
    evaluator: Evaluator,
    uids: list[str],
    roots: list[str],
    cameras: tuple[bool, str | float],
    training: Training,
    world: World,
) -> tuple[Results, dict[str, str]]:
    """Measure every object; those that cannot be read are named and left out.

    Args:
        evaluator: measures one.
        uids: the objects.
        roots: folders they are in.
        cameras: whether they are turned, and the distance of the source camera after it; see `object_views`.
        training: which of them were trained on.
        world: the workers, who take a share each.

    Returns:
        Figures by uid, and why an object failed by uid; on every worker those of all, in the order of `uids`.

    Raises:
        UserError: of a single object that fails.
    """
    objects: Results = {}
    failed: dict[str, str] = {}
    counts = evaluator.config.count_input_view
    for uid in tqdm(world.share(uids), desc="eval", unit="object"):
        entry = {"in_training": None if training.uids is None else uid in training.uids}
        try:
            objects[uid] = entry | evaluator(uid, object_views(find_root(roots, uid), uid, *cameras))
        except UserError as error:
            if len(uids) == 1 and world.size == 1:
                raise
            failed[uid] = str(error)
        _tell(uid, objects, failed, counts)
    if world.size == 1:
        return objects, failed
    own = set(world.share(uids))
    parts = [json.loads(text) for text in world.texts(json.dumps([objects, failed]))]
    objects, failed = ({uid: part[kind][uid] for uid in uids for part in parts if uid in part[kind]} for kind in (0, 1))
    for uid in uids:
        if world.leads and uid not in own:
            _tell(uid, objects, failed, counts)
    return objects, failed


def write_results(
    folder: Path,
    located: LocatedModel,
    objects: Results,
    failed: dict[str, str],
    training: Training,
    protocol: dict[str, Any],
    input_view_counts: bool,
) -> None:
    """Write metrics.json, metrics.csv, protocol.yaml and the page, and tell the means."""
    summary = summarise(objects, training)
    head = {"model": located.name, "weights": str(located.weights), "input_view_counts": input_view_counts}
    write_json(folder / "metrics.json", head | summary | {"objects": objects, "failed": failed})
    write_csv(folder / "metrics.csv", objects, summary["mean"])
    write_yaml(folder / "protocol.yaml", protocol)
    for line in log_lines(summary, len(objects), input_view_counts):
        logger.info("%s", line)
    logger.info("wrote %s, metrics.json, metrics.csv, protocol.yaml and sheets", write_report(folder))


def point_out_training(uids: list[str], training: Training) -> None:
    """Warn when objects were trained on: their figures say nothing of new ones."""
    seen = [uid for uid in uids if training.uids and uid in training.uids]
    if seen:
        names = ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else "")
        message = "%d of %d objects were trained on (%s): their figures say nothing of new objects"
        logger.warning(message, len(seen), len(uids), names)


def _tell(uid: str, objects: Results, failed: dict[str, str], counts: bool) -> None:
    if uid in failed:
        logger.error("%s: %s", uid, failed[uid])
        return
    seen = " (training object)" if objects[uid]["in_training"] else ""
    logger.info("%s%s: %s", uid, seen, describe(objects[uid], counts))
