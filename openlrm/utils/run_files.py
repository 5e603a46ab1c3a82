"""Files in the folder of a training run, and what they tell those who use its model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from openlrm.errors import UserError
from openlrm.utils.texts import decode, list_lines

CONFIG, MANIFEST, LOG, UIDS, RECORDS = "cfg.yaml", "manifest.json", "log_0.txt", "train_uids.json", "metrics.jsonl"


@dataclass(frozen=True)
class Training:
    """What the folder of a model tells about its training; defaults for what it does not.

    Attributes:
        roots: folders of the training objects.
        lists: files with their uids, one for every subset.
        normalize: whether cameras were turned so that the source camera is the canonical one.
        distance: of the source camera after that, or "auto".
        uids: training objects; None when unknown.
    """

    roots: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    normalize: bool = True
    distance: str | float = "auto"
    uids: frozenset[str] | None = None


def read_training(folder: Path) -> Training:
    """Read cfg.yaml and train_uids.json of a model's folder; defaults where there are none.

    Raises:
        UserError: one of them cannot be read.
    """
    uids = frozenset(read_uid_file(folder / UIDS)) if (folder / UIDS).is_file() else None
    if not (folder / CONFIG).is_file():
        return Training(uids=uids)
    data = _mapping(_settings(folder).get("data"))
    subsets = [_mapping(subset) for subset in data.get("subsets") or []]
    return Training(
        roots=[str(root) for subset in subsets for root in subset.get("root_dirs") or []],
        lists=[str(s.get("meta_path") or f"{s['root_dirs'][0]}/meta.json") for s in subsets if s.get("root_dirs")],
        normalize=data.get("normalize_camera", True),
        distance=data.get("normed_dist_to_center", "auto"),
        uids=uids,
    )


def trained_source_size(folder: Path) -> int | None:
    """Side in pixels of the pictures a run's model is trained with; None when the folder is no run's.

    Runs older than config.json's key `source_size` have it in cfg.yaml alone.

    Raises:
        UserError: a cfg.yaml that does not tell.
    """
    if not (folder / CONFIG).is_file():
        return None
    size = _mapping(_settings(folder).get("data")).get("source_image_res")
    if type(size) is not int:
        what = f"the run's settings do not tell data.source_image_res ({size!r})"
        raise UserError(what, folder / CONFIG, "give source_size")
    return size


def read_uid_file(path: Path) -> list[str]:
    """Names from a JSON list, or from a text with one on each line.

    Raises:
        UserError: not readable, or no names in it.
    """
    try:
        text = decode(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list of objects ({error})", path) from error
    try:
        # A name by itself is no JSON, even if it is a number.
        uids = json.loads(text) if text.lstrip().startswith(("[", "{")) else list_lines(text)
    except ValueError:
        uids = list_lines(text)
    if not isinstance(uids, list) or not uids or not all(isinstance(uid, str) for uid in uids):
        raise UserError("not a list of names", path, 'write a JSON list such as ["chair", "mug"], or one name a line')
    return uids


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return _mapping(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the run's config ({error})", folder / CONFIG) from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
