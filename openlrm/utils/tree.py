"""Files of a folder and what is linked into it, without those that only look like somebody's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from openlrm.utils.texts import natural_key

logger = logging.getLogger(__name__)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is none of the user's: `.cache`, and `._cup.png` as macOS puts beside cup.png."""
    return name.startswith(".") or name == "__MACOSX"


def walk(root: str | os.PathLike) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Go through a folder like `os.walk`, and through linked folders, each folder once.

    A linked folder comes after all that are there themselves, so that what can be reached both ways keeps its own
    place; a link to a folder above ends there. A folder that cannot be read is a warning.

    Args:
        root: where to begin.

    Yields:
        A folder, and the names of the folders and the files in it that are not hidden, in order; taking names out of
        the first list keeps them from being entered. A broken link is a file, for its reader to complain of; pipes and
        devices are nothing.
    """
    seen: set[str] = set()
    folders, linked = [Path(root)], []
    while folders or linked:
        folder = folders.pop(0) if folders else linked.pop(0)
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            logger.warning("%s: passed over (%s)", folder, error.strerror)
            continue
        links = {entry.name for entry in entries if entry.is_symlink()}
        below = [entry.name for entry in entries if entry.is_dir()]
        yield folder, below, [entry.name for entry in entries if entry.is_file() or _leads_nowhere(entry)]
        for name in below:
            (linked if name in links else folders).append(folder / name)


def find_files(root: str | os.PathLike, leave_out: Iterable[str | os.PathLike] = ()) -> list[Path]:
    """List the files of a folder and its subfolders, linked ones too; hidden ones are passed over.

    Args:
        root: the folder.
        leave_out: folders that are not entered.

    Returns:
        Paths in the order people count in: 5.png before 12.png.
    """
    passed = {os.path.realpath(folder) for folder in leave_out}
    files = []
    for folder, below, names in walk(root):
        below[:] = [name for name in below if os.path.realpath(folder / name) not in passed]
        files += [folder / name for name in names]
    return sorted(files, key=lambda path: [natural_key(part) for part in path.parts])


def _leads_nowhere(entry: os.DirEntry) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)
