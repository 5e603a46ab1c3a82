"""Which objects are evaluated, and where they are."""

from __future__ import annotations

from pathlib import Path

from openlrm.datasets.objaverse import check_uid, read_uids
from openlrm.datasets.storage import open_place
from openlrm.errors import UserError
from openlrm.utils.run_files import read_uid_file


def choose_uids(roots: list[str], lists: list[str], uids: list[str], uid_file: str | None) -> list[str]:
    """Names of the objects to evaluate, each once, in order: those given, else all that the lists hold.

    Raises:
        UserError: both ways of giving them, a list that cannot be read, or an object in none of the folders.
    """
    if uids and uid_file:
        raise UserError("uids and uid_file are two ways to name the objects", "command line", "give one of them")
    if uid_file:
        uids = read_uid_file(Path(uid_file))
    elif not uids:
        uids = [uid for name in lists for uid in read_uids(name)]
    uids = list(dict.fromkeys(uids))
    for uid in uids:
        check_uid(uid, "names of objects")
        find_root(roots, uid)
    return uids


def find_root(roots: list[str], uid: str) -> str:
    """Return the first folder that has the object; UserError when none has."""
    for root in roots:
        if (open_place(root) / uid).is_dir():
            return root
    raise UserError(f"no object {uid!r}", ", ".join(roots), "its folder holds rgba/, pose/ and intrinsics.npy")
