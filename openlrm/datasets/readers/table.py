"""Which reader reads what, and which objects lie below a folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from openlrm.config.schema import nearest
from openlrm.datasets.readers.capture import Capture
from openlrm.errors import UserError
from openlrm.utils.tree import walk

KINDS = {
    "rendered": "this project's layout",
    "instantmesh": "numbered pictures and cameras.npz",
    "mindone": "numbered pictures and meta.pkl",
    "gobjaverse": "folders 00000 ... with 00000.png and 00000.json",
    "zero123": "numbered pictures, each with its .npy",
    "co3d": "frame_annotations.jgz",
    "omniobject3d": "render/transforms.json and render/images",
    "transforms": "transforms.json",
    "mvimgnet": "images, sparse/0 and masks in a tree beside them",
    "colmap": "a COLMAP model, text or binary, and images",
}
"""Kind -> what it is told by; the module of this name in this package reads it. Earlier ones are tried first."""


def reader_of(path: Path) -> Callable[[Path], Capture] | None:
    """What reads one object that a folder, or a `transforms.json`, is; None where nothing tells its cameras."""
    if not path.is_dir():
        return _module("transforms").read if path.suffix.lower() == ".json" else None
    kinds = (_module(kind) for kind in KINDS)
    return next((one.read for one in kinds if hasattr(one, "read") and one.found(path)), None)


def list_objects(path: Path, kind: str | None = None) -> tuple[str, list[tuple[str, Callable[[], Capture]]]]:
    """Find the objects of a data set, reading none.

    Args:
        path: folder of one object, or of many at any depth.
        kind: one of `KINDS`; found out without it, by the first object.

    Returns:
        The kind, and of every object its uid (its path below the folder) and what reads it.

    Raises:
        UserError: a kind that is not known, or nothing of it there.
    """
    if kind is not None and kind not in KINDS:
        near = nearest(kind, KINDS)
        raise UserError(f"no kind {kind!r}", hint=f"did you mean {near}?" if near else f"use {', '.join(KINDS)}")
    if not path.is_dir():
        raise UserError("no such folder", path, "input is the folder of an object or of many")
    found: list[tuple[str, Callable[[], Capture]]] = []
    for folder, below, _ in walk(path):
        fits = [name for name in ([kind] if kind else KINDS) if _module(name).found(folder)]
        if fits:
            kind = fits[0]
            found += _objects(_module(kind), folder, path)
            below.clear()
    if not found:
        wanted = f"{kind} ({KINDS[kind]})" if kind else f"a kind we read ({', '.join(KINDS)})"
        raise UserError(f"no object of {wanted}", path, "see docs/posed-pictures.md")
    return str(kind), found


def _objects(reader: ModuleType, folder: Path, root: Path) -> list[tuple[str, Callable[[], Capture]]]:
    """One object a folder, unless the reader knows better."""
    if hasattr(reader, "objects"):
        return reader.objects(folder)
    uid = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    return [(uid, lambda: reader.read(folder))]


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f"openlrm.datasets.readers.{kind}")
