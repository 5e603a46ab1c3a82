"""Lists of the objects for training and of those for validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from openlrm.datasets.config import SubsetConfig
from openlrm.datasets.storage import Place, open_place

VALIDATION_LIST = "meta_val.json"
"""List of the objects of a folder that are kept for validation, as meta.json is of those for training."""


def training_list(subset: SubsetConfig) -> Place:
    """Return the file that lists the objects of a subset."""
    return open_place(subset.meta_path) if subset.meta_path else open_place(subset.root_dirs[0]) / "meta.json"


def validation_subsets(subsets: Sequence[SubsetConfig]) -> list[SubsetConfig]:
    """Return the subsets whose first folder has a list for validation, with that list in place of their own.

    Args:
        subsets: as they are trained on.
    """
    lists = [str(open_place(subset.root_dirs[0]) / VALIDATION_LIST) for subset in subsets]
    return [
        dataclasses.replace(subset, meta_path=path)
        for subset, path in zip(subsets, lists, strict=True)
        if open_place(path).is_file()
    ]
