"""Folders of objects on a local disk, or wherever fsspec reaches: `s3://bucket/objects`, `memory://objects`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from openlrm.errors import UserError


@dataclass(frozen=True)
class RemotePath:
    """A place behind an address, with as much of `pathlib.Path` as the readers use.

    Holds no connection: fsspec keeps those, and makes new ones in a worker process.

    Attributes:
        url: address such as s3://bucket/folder.
    """

    url: str

    def __truediv__(self, name: str) -> RemotePath:
        """Return the place `name` below this one."""
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        """Return the address."""
        return self.url

    @property
    def name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(self.url).name

    def is_dir(self) -> bool:
        """Whether it is a folder, or a prefix that something is stored under."""
        files, path = self._connect()
        return files.isdir(path)

    def is_file(self) -> bool:
        """Whether it is a file."""
        files, path = self._connect()
        return files.isfile(path)

    def iterdir(self) -> list[RemotePath]:
        """Return what lies in the folder."""
        files, path = self._connect()
        return [self / PurePosixPath(found.rstrip("/")).name for found in files.ls(path, detail=False)]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open a file."""
        files, path = self._connect()
        return files.open(path, mode)

    def read_bytes(self) -> bytes:
        """Return what is in a file."""
        with self.open() as stream:
            return stream.read()

    def _connect(self) -> tuple[Any, str]:
        protocol = self.url.partition("://")[0]
        try:
            from fsspec.core import url_to_fs

            return url_to_fs(self.url)
        except ImportError as error:
            what = f"{protocol}:// needs a package that is not installed ({error})"
            raise UserError(what, self.url, 'pip install "openlrm-mindspore[data]"') from error
        except ValueError as error:
            raise UserError(f"cannot use the address ({error})", self.url, "local folders need no ://") from error


Place = Path | RemotePath
"""A file or a folder here or elsewhere."""


def open_place(path: str | os.PathLike | RemotePath) -> Place:
    """Return the place an address or a local path stands for; nothing is read."""
    if isinstance(path, RemotePath):
        return path
    return RemotePath(path) if isinstance(path, str) and "://" in path else Path(path).expanduser()
