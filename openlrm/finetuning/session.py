"""What a fine-tuning run begins with and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openlrm.api import default_model
from openlrm.checkpoint import locate_model
from openlrm.diagnosis.objects import Subject, list_objects, read_subject
from openlrm.errors import UserError
from openlrm.families.reconstructor import Reconstructor, family_of
from openlrm.finetuning.arm import ArmRunner
from openlrm.finetuning.config import FinetuneOptions
from openlrm.finetuning.measure import Measure
from openlrm.metrics import PerceptualMetric
from openlrm.reports import markup
from openlrm.reports.chart import Curve, line_chart
from openlrm.training.run_folder import changed_options
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path
from openlrm.utils.plain import plain
from openlrm.utils.run_files import CONFIG

logger = get_logger(__name__)


def read_objects(config: FinetuneOptions) -> tuple[list[Subject], list[Subject]]:
    """Objects tuned on and objects measured.

    Raises:
        UserError: they overlap without `allow_overlap`, or cannot be read.
    """
    root = config.data_root
    split = (Path(root) / "meta" / "val_uids.json").is_file()
    train = config.train_uids or list_objects(root, "train")
    val = config.val_uids or list_objects(root, "val")
    if not (split or config.train_uids or config.val_uids):
        logger.warning("%s has no meta/train_uids.json: the same %d objects are tuned on and measured", root, len(val))
    shared = sorted(set(train) & set(val))
    if shared and not config.allow_overlap:
        what = f"{len(shared)} objects are tuned on and measured: {', '.join(shared[:3])}"
        raise UserError(what, root, "give val_uids=... of others, or allow_overlap=true")
    options = (config.source_view, config.source_camera)
    known = {uid: read_subject(root, uid, *options) for uid in dict.fromkeys([*train, *val])}
    return [known[uid] for uid in train], [known[uid] for uid in val]


def runner_of(config: FinetuneOptions, train: Sequence[Subject], measure: Measure) -> ArmRunner:
    """What runs the arms of a config.

    Raises:
        UserError: no such model, or one that is no LRM.
    """
    located = locate_model(str(config.model_name or default_model()))

    family = family_of(located)
    if family.name != "lrm":
        raise UserError(f"{located.name} is of the family {family.name}", located.config_file, "finetune.* tunes LRMs")

    def load() -> Reconstructor:
        return Reconstructor.load(located, config.source_size)

    return ArmRunner(load, train, measure, config, located.name)


def reload(runner: ArmRunner, folder: Path) -> Reconstructor:
    """The model of an arm that was finished earlier."""
    reconstructor = runner.load()
    if (folder / "adapter").is_dir():
        from openlrm.checkpoint.adapter import load_adapter

        load_adapter(reconstructor.model, folder / "adapter")
        return reconstructor
    return Reconstructor.load(locate_model(str(folder / "model")), reconstructor.source_size)


def perceptual(backbone: str) -> PerceptualMetric | None:
    """LPIPS, or None to leave it out.

    Raises:
        UserError: its backbone is not there.
    """
    return None if backbone == "none" else PerceptualMetric(backbone)


def check_same_options(folder: Path, config: Any, free: Sequence[str]) -> None:
    """Refuse to go on in the folder of a run with other options.

    Raises:
        UserError: likewise.
    """
    if not (folder / CONFIG).is_file():
        return
    changed = {key: pair for key, pair in changed_options(folder, config).items() if key not in free}
    if changed:
        listed = ", ".join(f"{key} {then} -> {now}" for key, (then, now) in changed.items())
        raise UserError(f"a run with other options is there: {listed}", folder, "give another output, or those options")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write results, keys in order: the same run gives the same bytes, but for its seconds."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plain(values), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def convergence(path: Path, results: dict[str, Any]) -> None:
    """Write a page with the four figures over the steps and the table of the objects."""
    names = list(results["history"])
    parts = [_means(results, names), '<div class="charts">']
    for key in results["baseline"]:
        curves = []
        for colour, name in enumerate(names):
            rows = [row for row in results["history"][name] if row.get(key) is not None]
            steps = [0, *(row["step"] for row in rows if row["step"])]
            values = [results["baseline"][key], *(row[key] for row in rows if row["step"])]
            curves.append(Curve(name, steps, values, colour, dashed=colour > 0))
        parts.append(line_chart(f"{key} of the measured objects", curves))
    parts += ["</div>", markup.heading("Objects"), object_table(results, names)]
    for uid in results["per_object"]["baseline"]:
        file = path.parent / f"vis_{uid}.png"
        parts.append(markup.picture(file, 1100, f"{uid}: base model, {', '.join(names)}, truth"))
    with atomic_path(path) as temporary:
        temporary.write_text(markup.page(f"Fine-tuning of {results['model']}", parts), encoding="utf-8")


def object_table(results: dict[str, Any], names: Sequence[str]) -> str:
    """Figures of every object; those made worse are marked."""
    keys, rows = list(results["baseline"]), []
    for uid, before in results["per_object"]["baseline"].items():
        rows.append([uid, "base", *(f"{before[key]:.4f}" for key in keys), ""])
        for name in names:
            found = results["per_object"][name][uid]
            worse = "worse" if uid in results[name]["degraded"] else ""
            rows.append(["", name, *(f"{found[key]:.4f}" for key in keys), worse])
    return markup.table(["object", "model", *keys, ""], rows)


def _means(results: dict[str, Any], names: Sequence[str]) -> str:
    keys = list(results["baseline"])
    rows = [["base model", *(f"{results['baseline'][key]:.4f}" for key in keys), ""]]
    for name in names:
        worse = results[name]["degraded"]
        told = f"{len(worse)} made worse" + (
            f"; {results[name]['ended_early']}" if results[name]["ended_early"] else ""
        )
        rows.append([name, *(f"{results[name]['mean'][key]:.4f}" for key in keys), told])
    return markup.table(["", *keys, ""], rows)
