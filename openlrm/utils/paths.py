"""Folders and files that are either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import itertools
import logging
import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from openlrm.errors import UserError
from openlrm.utils.picture_kinds import other_suffixes, read_suffixes
from openlrm.utils.tree import find_files

logger = logging.getLogger(__name__)

# Files named one by one in a message.
_NAMED = 8

_FOR_THE_USER = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What a file system refuses for want of rights, space or a possible name."""

_NO_SPACE = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}


def ensure_dir(path: str | os.PathLike) -> Path:
    """Make a folder and its parents, if need be, and check that it can be written to.

    Returns:
        The folder as a `Path`.

    Raises:
        UserError: a part of the path is a file, or the folder cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror})", path, "choose another output") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError("cannot write to the folder", path, "check its permissions or choose another output")
    return path


def check_output(path: str | os.PathLike, replaceable: str | None = None) -> None:
    """Check before the work that a result can be written after it. Nothing is made that stays.

    Args:
        path: the file; or the folder, with `replaceable`.
        replaceable: glob of the file names that `atomic_dir` may replace.

    Raises:
        UserError: as `atomic_path` and `atomic_dir`, as far as can be known now; room on the disk cannot.
    """
    path = Path(os.path.realpath(path))
    if replaceable is not None:
        _check_replaceable(path, replaceable)
    elif _exists(path) and not path.is_file():
        raise UserError("a folder or device stands where a file should be written", path)
    folder = next(above for above in path.parents if _exists(above))
    try:
        _try_to_write(folder, as_folder=folder != path.parent)
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror})", path, "choose another output") from error


@functools.lru_cache(maxsize=256)
def _try_to_write(folder: Path, as_folder: bool) -> None:
    """Make something and remove it: rights, read-only disks and what only looks like one say no in their own ways."""
    probe = _name_beside(folder / "probe")
    if as_folder:
        probe.mkdir()
        probe.rmdir()
    else:
        probe.touch(exist_ok=False)
        probe.unlink()


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file beside its final name and move it there once it is complete.

    The folder is made when it is missing. If the block raises, the temporary file is removed and whatever
    stood at `path` before stays as it was.

    Args:
        path: final file name.

    Yields:
        A name in the same folder with the same suffix; the block must create this file.

    Raises:
        UserError: the folder, the disk or the name does not allow it, or `path` is a folder or a device.
    """
    path = Path(path)
    ensure_dir(path.parent)
    if _exists(path) and not path.is_file():
        raise UserError("a folder or device stands where a file should be written", path)
    temporary = _name_beside(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike, replaceable: str | None = None) -> Iterator[Path]:
    """Fill a folder beside its final name and move it there once it is complete.

    Args:
        path: final folder name.
        replaceable: glob of the file names this folder is made of. An earlier folder is replaced if it holds
            nothing else; other people's files are never removed.

    Yields:
        An empty folder to fill.

    Raises:
        UserError: `path` holds other files, is a file, or cannot be written.
    """
    path = Path(os.path.realpath(path))
    ensure_dir(path.parent)
    _check_replaceable(path, replaceable)
    temporary = _name_beside(path)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _put_in_place(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def list_images(path: str | os.PathLike, results: Iterable[str | os.PathLike] = ()) -> list[Path]:
    """Find the pictures a path stands for.

    Args:
        path: one picture, or a folder that is searched with its subfolders, linked ones too; `~` is the home folder.
            Hidden files are passed over, pictures of kinds that are not read are named in a warning.
        results: folders that results are written to; what earlier runs left in them is no input.

    Returns:
        Paths in the order people count in, ending in one of `openlrm.utils.picture_kinds.read_suffixes` (any case).

    Raises:
        UserError: nothing there, no picture inside, or a file of another kind.
    """
    path = Path(path).expanduser()
    read = read_suffixes()
    if os.path.isfile(path):
        if path.suffix.lower() not in read:
            raise UserError(f"not a picture we read ({path.suffix or 'no suffix'})", path, f"use {', '.join(read)}")
        return [path]
    if not os.path.exists(path):
        raise UserError("no such picture or folder", path, "check the path")
    if not path.is_dir():
        raise UserError("neither a picture nor a folder", path)
    files = find_files(path, results)
    others = [str(file.relative_to(path)) for file in files if file.suffix.lower() in other_suffixes()]
    named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    images = [file for file in files if file.suffix.lower() in read]
    if not images:
        what = "no picture in the folder" + (f", of the kinds we read ({named})" if others else "")
        raise UserError(what, path, f"put {', '.join(read)} files in it")
    if others:
        logger.warning("%s: pictures of other kinds are passed over: %s; convert them to png or jpeg", path, named)
    return images


def check_apart(images: str | os.PathLike, output: str | os.PathLike) -> None:
    """Refuse to write pictures among those they are made from: the next run would take them for its input.

    Raises:
        UserError: the folder of pictures is the folder of results.
    """
    images = Path(images).expanduser()
    if images.is_dir() and os.path.realpath(images) == os.path.realpath(output):
        hint = "choose another output, such as a folder in it"
        raise UserError("the results would be pictures among those they are made from", output, hint)


def unique_output_names(
    paths: Sequence[str | os.PathLike], root: str | os.PathLike, endings: Sequence[str] = ("",)
) -> list[str]:
    """Name the results of every picture after its stem, longer only where two would collide.

    A clash is settled by the folders below `root`, then by the suffix, then by a number, so that no result
    overwrites another even on a file system that ignores case.

    Args:
        paths: pictures, all different.
        root: the folder they were found in.
        endings: what follows the name in those of the results; `cup` and `cup_mask` collide where there is `_mask.mp4`
            beside `.mp4`.

    Returns:
        One name per path, in order, without suffix.

    Example:
        >>> unique_output_names(["in/a/cup.png", "in/b/cup.png", "in/hat.png"], "in")
        ['a_cup', 'b_cup', 'hat']
    """
    paths = [Path(path) for path in paths]
    names = [path.stem for path in paths]
    for make_longer in (_relative_name, _relative_name_with_suffix):
        clashing = _clashes(names, endings)
        names = [
            make_longer(path, Path(root)) if at in clashing else name
            for at, (path, name) in enumerate(zip(paths, names, strict=True))
        ]
    clashing = _clashes(names, endings)
    taken = {file for name in names for file in _files(name, endings)}
    for at in sorted(clashing):
        candidates = (f"{names[at]}_{number}" for number in itertools.count(1))
        names[at] = next(name for name in candidates if taken.isdisjoint(_files(name, endings)))
        taken |= _files(names[at], endings)
    return names


def _files(name: str, endings: Sequence[str]) -> set[str]:
    """Files of a name, as a file system sees them that ignores case and how accents are put together."""
    return {unicodedata.normalize("NFC", f"{name}{ending}".casefold()) for ending in endings}


def _clashes(names: Sequence[str], endings: Sequence[str]) -> set[int]:
    """Positions of the names that share a file with another one."""
    owners: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        for file in _files(name, endings):
            owners.setdefault(file, []).append(at)
    return {at for sharing in owners.values() if len(sharing) > 1 for at in sharing}


def _relative_name(path: Path, root: Path) -> str:
    relative = path.relative_to(root) if path.is_relative_to(root) else path
    return "_".join(part for part in relative.with_suffix("").parts if part not in (relative.anchor, ".."))


def _relative_name_with_suffix(path: Path, root: Path) -> str:
    return f"{_relative_name(path, root)}_{path.suffix[1:]}"


def _name_beside(path: Path) -> Path:
    # Short whatever the final name, so that a name the file system just allows stays allowed.
    return path.with_name(f".tmp-{secrets.token_hex(6)}{path.suffix}")


def _exists(path: Path) -> bool:
    """Tell whether something is there; an impossible name is refused now, not after the work."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _explain(error, path) from error
    return True


def _check_replaceable(path: Path, pattern: str | None) -> None:
    if not _exists(path):
        return
    if not path.is_dir():
        raise UserError("a file stands where a folder should be written", path)
    foreign = [file for file in path.iterdir() if not (pattern and fnmatch.fnmatch(file.name, pattern))]
    if foreign:
        raise UserError(f"the folder holds other files ({foreign[0].name})", path, "move them or choose another output")


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        os.replace(folder, path)
        return
    earlier = _name_beside(path)
    os.replace(path, earlier)
    try:
        os.replace(folder, path)
    except OSError:
        os.replace(earlier, path)
        raise
    shutil.rmtree(earlier)


def _explain(error: OSError, path: Path) -> OSError | UserError:
    """Return a UserError for what the user can change about `path`, anything else as it came."""
    about = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    concerns_path = about is None or about.parent == path.parent or path.is_relative_to(about)
    if error.errno in _FOR_THE_USER and concerns_path:
        hint = "make room or choose another output" if error.errno in _NO_SPACE else "choose another output"
        return UserError(f"cannot write ({error.strerror})", path, hint)
    return error


def _sync(path: Path) -> None:
    """Ask the disk to keep a file or a folder's entries."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync; the rename is still all or nothing.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
