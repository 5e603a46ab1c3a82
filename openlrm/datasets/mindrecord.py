"""A set of rendered objects packed into a few MindRecord files, read as if it were folders.

    pack/pack.json                   what is where
    pack/objects-00000.mindrecord    a row for each view: object, picture (the PNG file), pose (the .npy file)
    pack/meta.json ...               lists of uids, as beside loose objects

Millions of small files become a few large ones, which network file systems, quotas and copying want. From a local disk
loose files are read faster (docs/data.md), so they are the default.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openlrm.datasets.objaverse import check_uid, existing_root, list_uids, read_object, read_uids
from openlrm.datasets.storage import RemotePath
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_dir
from openlrm.utils.texts import decode

INDEX = "pack.json"

_FORMAT = 1
_SCHEMA = {"object": {"type": "string"}, "picture": {"type": "bytes"}, "pose": {"type": "bytes"}}
_HEADER_BYTES = 1 << 20  # MindRecord's own is 16 MiB a file
_PAGE_BYTES = 1 << 25
_OPEN_FILES = 64
_MAX_VIEWS = 100_000

_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A thread may hold it when a worker process is forked off.
    os.register_at_fork(after_in_child=_renew_lock)


def pack_objects(root: str | os.PathLike, output: str | os.PathLike, objects_per_file: int = 128) -> list[str]:
    """Pack the objects of all lists (meta*.json) of a folder; depth and other maps stay out.

    Args:
        root: folder of rendered objects.
        output: folder to write; it appears when it is complete.
        objects_per_file: more make fewer files, whose rows take longer to find.

    Returns:
        The uids, sorted.

    Raises:
        UserError: an object that cannot be read, or a folder that is there already or cannot be written.
    """
    root = existing_root(root)
    lists = [entry for entry in root.iterdir() if entry.name.startswith("meta") and entry.name.endswith(".json")]
    uids = sorted({*list_uids(root), *(uid for file in lists for uid in read_uids(file))})
    output = Path(output)
    if output.exists():
        raise UserError("the pack is there already", output, "remove it or choose another folder")
    objects: dict[str, dict[str, Any]] = {}
    with atomic_dir(output) as folder:
        for start in range(0, len(uids), objects_per_file):
            number = start // objects_per_file
            objects |= _pack_file(root, uids[start : start + objects_per_file], folder, number, start)
        (folder / INDEX).write_text(json.dumps({"format": _FORMAT, "objects": objects}) + "\n", encoding="utf-8")
        for file in lists:
            shutil.copyfile(file, folder / file.name)
    return uids


@dataclass(frozen=True)
class PackedPath(RemotePath):
    """A place inside a pack, with as much of `pathlib.Path` as the readers use.

    Holds no open file: every process opens its own.

    Attributes:
        url: folder of the pack.
        inner: path in it, such as `cup/rgba/000.png`; "" is the pack itself.
    """

    inner: str = ""

    def __truediv__(self, name: str) -> PackedPath:
        """Return the place `name` below this one."""
        return PackedPath(self.url, f"{self.inner}/{name}" if self.inner else name)

    def __str__(self) -> str:
        """Return folder and inner path."""
        return f"{self.url}/{self.inner}" if self.inner else self.url

    @property
    def name(self) -> str:
        """Last part of the path."""
        return Path(str(self)).name

    def is_dir(self) -> bool:
        """Whether it is the pack, an object, or one of an object's folders."""
        if not self.inner:
            return (Path(self.url) / INDEX).is_file()
        uid, part = self._split()
        return part in ("", "rgba", "pose") if uid else any(other.startswith(f"{self.inner}/") for other in self._all)

    def iterdir(self) -> list[PackedPath]:
        """Return what lies in the folder."""
        uid, part = self._split()
        if uid:
            suffix = {"rgba": ".png", "pose": ".npy"}.get(part)
            names = [f"{name}{suffix}" for name in self._views(uid)] if suffix else ["rgba", "pose", "intrinsics.npy"]
            return [self / name for name in names]
        start = f"{self.inner}/" if self.inner else ""
        below = {other[len(start) :].split("/")[0] for other in self._all if other.startswith(start)}
        lists = [] if self.inner else [file.name for file in Path(self.url).glob("meta*.json")]
        return [self / name for name in sorted(below) + sorted(lists)]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open a file.

        Raises:
            OSError: there is none, or the pack is damaged.
        """
        uid, part = self._split()
        if not uid:
            return (Path(self.url) / self.inner).open(mode)
        if part == "intrinsics.npy":
            stream = io.BytesIO()
            np.save(stream, np.array(self._all[uid]["intrinsics"]))
            stream.seek(0)
            return stream
        kind, _, name = part.partition("/")
        stem, views = name.rpartition(".")[0], self._views(uid)
        if kind not in ("rgba", "pose") or stem not in views:
            raise FileNotFoundError(str(self))
        row = _read_row(self.url, self._all[uid], views.index(stem))
        return io.BytesIO(row["picture" if kind == "rgba" else "pose"])

    @property
    def _all(self) -> dict[str, dict[str, Any]]:
        return _read_index(self.url)

    def _views(self, uid: str) -> list[str]:
        views = self._all[uid]["views"]
        return [f"{view:03d}" for view in range(views)] if isinstance(views, int) else views

    def _split(self) -> tuple[str, str]:
        """Return the uid, "" outside of objects, and the path in the object."""
        parts = self.inner.split("/") if self.inner else []
        for length in range(len(parts), 0, -1):
            if (uid := "/".join(parts[:length])) in self._all:
                return uid, "/".join(parts[length:])
        return "", self.inner


def open_pack(folder: str | os.PathLike) -> PackedPath:
    """Return a pack in the place of a folder of objects, for every function that takes one.

    Args:
        folder: as `pack_objects` has written it.

    Raises:
        UserError: there is no pack, or its index cannot be used.
    """
    path = os.path.abspath(folder)
    if not os.path.isfile(os.path.join(path, INDEX)):
        raise UserError(f"no {INDEX} there", path, "a pack is made by render.objaverse pack=...")
    _read_index(path)
    return PackedPath(path)


def _pack_file(root: Any, uids: Sequence[str], folder: Path, number: int, start: int) -> dict[str, dict[str, Any]]:
    from mindspore.mindrecord import FileWriter

    file = folder / f"objects-{number:05d}.mindrecord"
    writer = FileWriter(str(file), 1)
    writer.set_header_size(_HEADER_BYTES)
    writer.set_page_size(_PAGE_BYTES)
    writer.add_schema(_SCHEMA, "views of rendered objects")
    writer.add_index(["object"])
    entries = {}
    for position, uid in enumerate(uids, start):
        source = read_object(root, uid)
        # A uid is no safe key: MindRecord puts it into a query as it is.
        key = f"{position:08d}"
        rows = []
        for view, name in enumerate(source.names):
            source.read_picture(view), source.read_pose(view)  # what is broken is told now
            picture = (source.folder / "rgba" / f"{name}.png").open("rb")
            pose = (source.folder / "pose" / f"{name}.npy").open("rb")
            with picture, pose:
                rows.append({"object": key, "picture": picture.read(), "pose": pose.read()})
        writer.write_raw_data(rows)
        usual = [f"{view:03d}" for view in range(len(source))]
        with (source.folder / "intrinsics.npy").open("rb") as stream:
            intrinsics = np.lib.format.read_array(stream, allow_pickle=False)
        views = len(source) if list(source.names) == usual else list(source.names)
        entries[uid] = {"file": file.name, "key": key, "views": views, "intrinsics": intrinsics.tolist()}
    writer.commit()
    # MindRecord looks through all rows for one of a given object; with this it need not. Only a matter of speed.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"{file}.db")) as index, index:
        index.execute("CREATE INDEX by_object ON INDEXES(object_0)")
    return entries


@lru_cache(maxsize=16)
def _read_index(folder: str) -> dict[str, dict[str, Any]]:
    file = Path(folder) / INDEX
    try:
        index = json.loads(decode(file.read_bytes()))
        if index["format"] == _FORMAT:
            for uid, entry in index["objects"].items():
                check_uid(uid, file)
                _check_entry(entry)
            return index["objects"]
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"cannot read the index of the pack ({type(error).__name__}: {error})"
        raise UserError(what, file, "pack the objects again") from error
    raise UserError(f"the pack has format {index['format']}, not {_FORMAT}", file, "pack the objects again")


def _check_entry(entry: dict[str, Any]) -> None:
    """Refuse what would lead out of the pack, into MindRecord's query, or into endless lists."""
    views = entry["views"]
    if not re.fullmatch(r"[\w-]+\.mindrecord", entry["file"]) or not re.fullmatch("[0-9]+", entry["key"]):
        raise ValueError(f"no file {entry['file']!r} or object {entry['key']!r} can be in a pack")
    named = isinstance(views, list) and all(isinstance(name, str) and not set(name) & set("/\\\0") for name in views)
    if not named and not (type(views) is int and 0 < views <= _MAX_VIEWS):
        raise ValueError(f"{str(views)[:40]} are no views")
    np.asarray(entry["intrinsics"], np.float64)


def _read_row(folder: str, entry: dict[str, Any], view: int) -> dict[str, bytes]:
    # One at a time: a reader has one position in its file.
    with _lock:
        try:
            reader = _reader(os.getpid(), os.path.join(folder, entry["file"]))
            return reader.read_at_page_by_name(entry["key"], view, 1)[0]
        except Exception as error:
            # MindRecord's exceptions have no base below RuntimeError and ValueError.
            raise OSError(f"MindRecord cannot read {entry['file']}: {error}") from error


@lru_cache(maxsize=_OPEN_FILES)
def _reader(process: int, file: str) -> Any:
    """Return the reader of a file; a process started by fork must not share its parent's."""
    from mindspore.mindrecord import MindPage

    reader = MindPage(file, 1)
    reader.category_field = "object"
    return reader
