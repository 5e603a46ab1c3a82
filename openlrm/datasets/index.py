"""A folder of objects against its list of objects."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from openlrm.datasets.held_out import VALIDATION_LIST
from openlrm.datasets.inspection import Problem
from openlrm.datasets.objaverse import META_HINT, existing_root, read_uids
from openlrm.datasets.storage import Place, open_place
from openlrm.utils.tree import is_hidden


def compare_list(root: str | Place, meta_path: str | None = None) -> tuple[list[str], list[Problem]]:
    """Compare the list of a folder of objects with what is in it.

    Args:
        root: folder of objects, or its address.
        meta_path: list of uids; meta.json in the folder without it. Folders that it leaves out are not reported.

    Returns:
        The uids that are there, once each, in the order of the list (or by name, without a meta.json), and what does
        not fit: objects listed twice or for validation too, objects that are not there, folders that no list has
        (harmless).

    Raises:
        UserError: no such folder, or a list that is no list of names.
    """
    root = existing_root(root)
    meta = open_place(meta_path) if meta_path else root / "meta.json"
    if not meta_path and meta.name not in {entry.name for entry in root.iterdir()}:
        found = sorted(_objects_below(root, {"."}))
        return found, [Problem("list", f"no meta.json in {root}. {META_HINT}")]
    listed = read_uids(meta)
    problems = [
        Problem("duplicate", f"{uid} is listed {count} times: {meta}")
        for uid, count in Counter(listed).items()
        if count > 1
    ]
    uids = list(dict.fromkeys(listed))
    missing = [uid for uid in uids if not (root / uid).is_dir()]
    problems += [Problem("missing", f"listed, but there is no folder: {root / uid}") for uid in missing]
    if not meta_path:
        held_out = set(read_uids(root / VALIDATION_LIST)) if (root / VALIDATION_LIST).is_file() else set()
        both = [uid for uid in uids if uid in held_out]
        problems += [Problem("split", f"{uid} is in {VALIDATION_LIST} too: {meta}") for uid in both]
        unlisted = _objects_below(root, {str(PurePosixPath(uid).parent) for uid in uids}) - set(uids) - held_out
        problems += [Problem("unlisted", f"not in meta.json: {root / uid}", True) for uid in sorted(unlisted)]
    gone = set(missing)
    return [uid for uid in uids if uid not in gone], problems


def _objects_below(root: Place, parents: set[str]) -> set[str]:
    """Return the names of folders with pictures directly in one of some folders below the root."""
    found = set()
    for parent in parents:
        folder = root if parent == "." else root / parent
        if folder.is_dir():
            entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
            names = [entry.name for entry in entries if (entry / "rgba").is_dir()]
            found |= {name if parent == "." else f"{parent}/{name}" for name in names}
    return found
