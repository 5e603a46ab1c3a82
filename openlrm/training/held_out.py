"""Which objects a run is validated on, and what they may be called."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openlrm.datasets import VALIDATION_LIST, SubsetConfig, ValidationItems, training_list, validation_subsets
from openlrm.errors import UserError
from openlrm.reports.results import HELD_OUT, PARTLY_TRAINED_ON, TRAINED_ON

if TYPE_CHECKING:
    from openlrm.datasets import DataConfig, TrainItems
    from openlrm.training.config import ValidationConfig

_NAMED = 3


def choose_validation(
    data: DataConfig, val: ValidationConfig, items: TrainItems, overfit: bool = False
) -> tuple[ValidationItems, str]:
    """Find the objects to measure.

    They are those of `val_uids`; else the validation list of `val_root`, or its meta.json where it has none; else the
    validation lists of the training folders; else, and to overfit, the first training objects.

    Args:
        data: of the run; its source size and cameras count as well.
        val: what was asked for.
        items: what is trained on, `val_uids` taken out.
        overfit: whether the run is to learn its few objects by heart.

    Returns:
        The objects, of which the first `val_objects` are measured, and what these are called: `HELD_OUT`,
        `TRAINED_ON` or `PARTLY_TRAINED_ON`.

    Raises:
        UserError: objects that are trained on, unless `val_overlap` allows them; objects that cannot be read; or
            `stop_drop` without held-out ones.
    """
    found = ValidationItems(*_wanted(data, val, items, overfit), val.val_views)
    measured = found.uids[: val.val_objects]
    trained = found.trained_on(items)
    if trained and _named_by_lists(data, val, overfit) and not val.val_overlap:
        some = ", ".join(trained[:_NAMED]) + (f" and {len(trained) - _NAMED} more" if len(trained) > _NAMED else "")
        what = f"{len(trained)} of {len(found)} validation objects are trained on: {some}"
        hint = f"take them out of one list ({VALIDATION_LIST} is for validation), or give val.val_overlap=true"
        raise UserError(what, val.val_root or "data", hint)
    for uid in measured:
        found.open(uid)
    shared = set(trained) & set(measured)
    kind = HELD_OUT if not shared else TRAINED_ON if len(shared) == len(measured) else PARTLY_TRAINED_ON
    if val.stop_drop > 0 and kind != HELD_OUT:
        what = f"val.stop_drop compares held-out objects, and {len(shared)} of {len(measured)} are trained on"
        raise UserError(what, "config", "give val.val_uids or val.val_root, or val.stop_drop=0")
    return found, kind


def _named_by_lists(data: DataConfig, val: ValidationConfig, overfit: bool) -> bool:
    """Whether anything says what to hold out."""
    return bool(val.val_uids or val.val_root) or (not overfit and bool(validation_subsets(data.subsets)))


def _wanted(
    data: DataConfig, val: ValidationConfig, items: TrainItems, overfit: bool
) -> tuple[DataConfig, list[str] | None]:
    """Return the lists to look in, and the names to look for: all of them without."""
    if not _named_by_lists(data, val, overfit):
        return data, items.uids[: val.val_objects]
    subsets = [SubsetConfig(root_dirs=[val.val_root])] if val.val_root else data.subsets
    lists = validation_subsets(subsets)
    if not val.val_uids:
        return dataclasses.replace(data, subsets=lists or subsets), None
    # A name may be in either list; val_root may have just the one.
    others = [subset for subset in subsets if not lists or training_list(subset).is_file()]
    return dataclasses.replace(data, subsets=lists + others), val.val_uids
