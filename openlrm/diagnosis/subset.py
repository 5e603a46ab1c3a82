"""`diagnose.subset`: which objects are looked at, and which of them are kept for validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

TRAIN_SHARE = 0.8


def choose(uids: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw objects, sorted; the same seed draws the same from the same list.

    Raises:
        UserError: there are fewer.
    """
    if count > len(uids):
        raise UserError(f"num_objects={count}, but there are {len(uids)}", hint="ask for fewer, or render more")
    return sorted(np.random.default_rng(seed).permutation(sorted(uids))[:count].tolist())


def write_split(root: Path, uids: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Write meta/{all,train,val}_uids.json: a seeded shuffle, the first four fifths (at least 1) are for training."""
    shuffled = np.random.default_rng(seed).permutation(sorted(uids)).tolist()
    trained = max(1, int(TRAIN_SHARE * len(shuffled)))
    parts = {"all": sorted(shuffled), "train": sorted(shuffled[:trained]), "val": sorted(shuffled[trained:])}
    for name, names in parts.items():
        with atomic_path(root / "meta" / f"{name}_uids.json") as temporary:
            temporary.write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")
    return parts
