"""Which objects there are to render: from a folder, a list, or the Objaverse package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openlrm.datasets.objaverse import check_uid
from openlrm.errors import UserError
from openlrm.utils.texts import decode, list_lines
from openlrm.utils.tree import find_files

SUFFIXES = (".glb", ".gltf", ".fbx", ".obj", ".ply", ".stl", ".usd", ".usda", ".usdc", ".usdz")
"""3D files the Blender script imports, in lower case."""

LIST_SUFFIXES = (".txt", ".json", "")
"""Lists of objects, in lower case."""

_LIST_HINT = "a .txt with a path, or a uid, a tab and a path, on every line; or a .json with paths or {uid: path}"


@dataclass(frozen=True)
class Source:
    """One object to render.

    Attributes:
        uid: name of its folder, below the output.
        path: 3D file.
    """

    uid: str
    path: Path


def find_sources(place: str) -> list[Source]:
    """List the objects of a folder or a list, or take one file.

    Args:
        place: a folder, searched with its subfolders, linked ones too; an object is called as its path in it without
            suffix. Or one 3D file, called as it is. Or a list: .txt with a path, or a uid, a tab and a path, on every
            line; .json with paths or {uid: path}. Paths are relative to the list's folder; an object without uid is
            called as its file without suffix.

    Returns:
        The objects by uid.

    Raises:
        UserError: nothing there, a list that cannot be read, an object that is named twice, or a name that leads out
            of the output folder.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        files = [file for file in find_files(path) if file.suffix.lower() in SUFFIXES]
        pairs = [(file.relative_to(path).with_suffix("").as_posix(), file) for file in files]
    elif path.suffix.lower() in SUFFIXES and path.exists():
        pairs = [(path.stem, path)]
    else:
        pairs = [(uid or Path(file).stem, path.parent / file) for uid, file in _read_list(path)]
    if not pairs:
        raise UserError("no 3D file there", path, f"expected {', '.join(SUFFIXES)}")
    return _checked(pairs, path)


def read_objaverse_uids(place: str) -> list[str]:
    """Read a list of Objaverse uids.

    Args:
        place: .txt with a uid on every line, or .json list.

    Returns:
        The uids, once each, sorted.

    Raises:
        UserError: a list that cannot be read, or that is empty.
    """
    path = Path(place).expanduser()
    uids = sorted({uid for _, uid in _read_list(path)})
    if not uids:
        raise UserError("no uid there", path)
    return uids


def fetch_objaverse(uids: Sequence[str], processes: int) -> list[Source]:
    """Download objects of Objaverse 1.0 with its package, which keeps them in ~/.objaverse.

    Args:
        uids: of the objects.
        processes: downloads at a time.

    Returns:
        The objects by uid.

    Raises:
        UserError: no package, no network, or uids that Objaverse does not have.
    """
    try:
        import objaverse
    except ImportError as error:
        raise UserError(f"Objaverse's objects need its package ({error})", hint="pip install objaverse") from error
    try:
        files = objaverse.load_objects(uids=list(uids), download_processes=processes)
    except Exception as error:
        # Whatever its downloads raise: URLError, KeyError for an unknown uid, a broken gzip.
        what = f"Objaverse's objects cannot be fetched ({type(error).__name__}: {error})"
        raise UserError(what, hint="check the network and the uids; finished downloads are kept") from error
    return _checked([(uid, Path(file)) for uid, file in files.items()], Path("Objaverse"))


def _read_list(path: Path) -> list[tuple[str, str]]:
    """Return uid, or "" where there is none, and text of every entry."""
    if path.exists() and path.suffix.lower() not in LIST_SUFFIXES:
        what = f"neither a 3D file we read nor a list ({path.suffix})"
        raise UserError(what, path, f"3D files are {', '.join(SUFFIXES)}; a list is {_LIST_HINT}")
    try:
        text = decode(path.read_bytes())
        if path.suffix.lower() == ".json":
            entries = json.loads(text)
            pairs = list(entries.items()) if isinstance(entries, dict) else [("", entry) for entry in entries]
        else:
            parts = [line.rpartition("\t") for line in list_lines(text) if not line.startswith("#")]
            pairs = [(uid.strip(), file) for uid, _, file in parts]
    except FileNotFoundError:
        raise UserError("no such folder or list of objects", path) from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read the list of objects ({error})", path, _LIST_HINT) from error
    if not all(isinstance(text, str) and text for _, text in pairs):
        raise UserError("the list holds something other than names", path, _LIST_HINT)
    return pairs


def _checked(pairs: Iterable[tuple[str, Path]], where: Path) -> list[Source]:
    found: dict[str, Path] = {}
    for uid, file in pairs:
        check_uid(uid, where)
        if uid.endswith(".part"):
            raise UserError(f"an object must not be called {uid!r}: .part marks what is not complete", where)
        if found.setdefault(uid, file) != file:
            hint = "rename one, or give a list with a uid, a tab and a path on every line"
            raise UserError(f"two objects are called {uid!r}: {found[uid]} and {file}", where, hint)
    return [Source(uid, found[uid]) for uid in sorted(found)]
