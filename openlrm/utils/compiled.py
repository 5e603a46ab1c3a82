"""Loops compiled by numba, kept on the disk for the next process as long as no source that they depend on changes.

Numba's own cache looks at the file of the cached function only, and would go on running an old copy of a helper that
another file has. It also refuses to work where nothing can be written, and reads nothing from a folder that it cannot
write. Here

- what is kept is valid for the contents of the function's file and of all files of this package that it imports, and
  those import in turn (constants are compiled in as well);
- it is looked for in $NUMBA_CACHE_DIR, the `__pycache__` beside the source, the user's cache folder and the temporary
  folder, and written to the first of them that can be;
- what cannot be read or written is compiled again, with one line in the log.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from numba import config, njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.misc.appdirs import AppDirs

from openlrm.utils.logging import get_logger

_log = get_logger(__name__)


def compiled(**options) -> Callable:
    """Decorate a function that Python calls: `numba.njit` without the GIL, kept on the disk.

    Functions that only other compiled ones call are for `numba.njit` itself: they become part of their callers.

    Args:
        **options: of `numba.njit`, such as fastmath.
    """

    def decorate(function: Callable) -> Callable:
        loop = njit(nogil=True, **options)(function)
        # Not for a plain function, which NUMBA_DISABLE_JIT leaves, nor without a source, as in some bundles.
        if hasattr(loop, "enable_caching") and Path(inspect.getfile(function)).is_file():
            loop._cache = _Cache(function)
        return loop

    return decorate


def source_files(file: str, module: str) -> list[Path]:
    """The file of a module and those of its package that it imports, directly or not.

    Args:
        file: of the module.
        module: its full name.
    """
    package, found, waiting = module.split(".")[0], set(), [(module, Path(file))]
    while waiting:
        name, path = waiting.pop()
        if path in found or name == __name__:
            continue
        found.add(path)
        for imported in _imports(path, name):
            other = getattr(sys.modules.get(imported), "__file__", None)
            if other and imported.split(".")[0] == package:
                waiting.append((imported, Path(other)))
    return sorted(found)


@cache
def _imports(path: Path, module: str) -> list[str]:
    """Full names of what a file imports outside functions: modules, and names that may be modules."""
    parents = module.split(".")[: None if path.stem == "__init__" else -1]
    names = []
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


@cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@cache
def _stamp(file: str, module: str) -> str:
    """Hash of all sources that a module's loops may depend on."""
    return hashlib.sha256(b"".join(map(_digest, source_files(file, module)))).hexdigest()


class _Locator(_CacheLocator):
    """Tells numba's cache how to name a function's files; where they are is `_Cache`'s affair."""

    def __init__(self, function: Callable, file: str):
        self._py_file, self._line = file, function.__code__.co_firstlineno
        self._module = function.__module__

    def get_cache_path(self) -> str:
        return os.fspath(Path(self._py_file).parent / "__pycache__")

    def get_source_stamp(self) -> str:
        return _stamp(self._py_file, self._module)

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable, file: str) -> _Locator:
        return cls(function, file)


class _Naming(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):
    """One function's compiled forms, in the first folder that has them."""

    _impl_class = _Naming

    def __init__(self, function: Callable):
        super().__init__(function)
        beside = self._impl.locator.get_cache_path()
        # Others are shared by all sources there are.
        self._own = self._impl.locator.get_suitable_cache_subpath(inspect.getfile(function))
        given = [Path(config.CACHE_DIR, self._own)] if config.CACHE_DIR else []
        users = Path(AppDirs("numba", appauthor=False).user_cache_dir, self._own)
        # Without a home the user's begins with "~".
        self._lasting = [*given, Path(beside), *([users] if users.is_absolute() else [])]

    def load_overload(self, sig, target_context):
        """What is kept for a signature, or None."""
        target_context.refresh()
        key = self._index_key(sig, target_context.codegen())
        temporary = _temporary_folder()
        own = [temporary / self._own] if temporary and _is_private(temporary) else []
        for folder in (*self._lasting, *own):
            try:
                data = self._file(folder).load(key)
                if data is not None:
                    return self._impl.rebuild(target_context, data)
            except Exception as error:  # a damaged file raises whatever its bytes happen to mean
                _log.debug("%s: not read from %s: %s", self._name, folder, error)
        return None

    def save_overload(self, sig, data) -> None:
        """Keep what was compiled, where that is possible."""
        if not self._impl.check_cachable(data):
            return
        key, reduced = self._index_key(sig, data.codegen), self._impl.reduce(data)
        if any(self._store(folder, key, reduced) for folder in self._lasting):
            return
        temporary = _temporary_folder()
        if temporary and _make_private(temporary) and self._store(temporary / self._own, key, reduced):
            _tell(f"are kept in {temporary}")
        else:
            _tell("cannot be kept, so that every run compiles them anew")

    def _file(self, folder: Path) -> IndexDataCacheFile:
        return IndexDataCacheFile(os.fspath(folder), self._impl.filename_base, self._impl.locator.get_source_stamp())

    def _store(self, folder: Path, key, reduced) -> bool:
        """Write to a folder; whether that was possible."""
        file = self._file(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file.save(key, reduced)
            except OSError:
                raise
            except Exception:  # the index that is there is damaged, or names a class that is gone
                file.flush()
                file.save(key, reduced)
        except OSError as error:
            _log.debug("%s: not written to %s: %s", self._name, folder, error)
            return False
        return True


@cache
def _tell(what: str) -> None:
    """Say once what a read-only installation means."""
    _log.warning(
        "neither the package's folder nor the user's cache can be written to: compiled loops %s; "
        "NUMBA_CACHE_DIR=FOLDER keeps them elsewhere",
        what,
    )


def _temporary_folder() -> Path | None:
    """This user's folder below the temporary one, which may not exist; None where there is no temporary one."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        return Path(tempfile.gettempdir(), f"openlrm-loops-{user}")
    except OSError:
        return None


def _make_private(folder: Path) -> bool:
    """Make a folder that nobody else can write to, if it is not there; whether it is such a one."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return _is_private(folder)


def _is_private(folder: Path) -> bool:
    """Whether a folder is this user's own: what is read from it is run."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return own and stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
