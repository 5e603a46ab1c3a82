"""Tensors in .safetensors, MindSpore .ckpt and PyTorch zip files; of none of them is anything run."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from openlrm.checkpoint.ckpt import read_ckpt
from openlrm.checkpoint.torch_archive import is_torch_archive, read_torch_archive
from openlrm.errors import UserError
from openlrm.utils.file_kind import DOWNLOAD_HINT, PICKLE_HINT, refuse_other_kinds, told_text
from openlrm.utils.paths import atomic_path

INDEX_SUFFIX = ".safetensors.index.json"
"""End of the name of the file that says which tensor is in which of several .safetensors files."""

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "BOOL": np.bool_,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PICKLES = (".pt", ".pth", ".bin", ".pkl")
_MAX_HEADER = 100_000_000  # the format's own limit


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read all tensors of a checkpoint file.

    Args:
        path: a .safetensors or .ckpt file, PyTorch's zip of tensors whatever its name, or the
            .safetensors.index.json of one in several parts.

    Returns:
        name -> array; floating point as float32, whatever the file's precision.

    Raises:
        UserError: missing, of another kind (a pickle, which can run code; a Git LFS pointer; a web page), truncated or
            not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("checkpoint not found", str(path))
    entries = _read_parts(path) if path.name.endswith(INDEX_SUFFIX) else _read_file(path, "a checkpoint")
    tensors = {}
    for name, value in entries:
        if name in tensors:
            raise UserError(f"parameter {name} is there twice", str(path))
        # One after another: beside the result there is never more than one array.
        tensors[name] = _checked(name, value, path)
    return tensors


def _read_file(path: Path, wanted: str) -> Iterator[tuple[str, np.ndarray]]:
    """Read a file as what it is, or say what it is; `wanted` is what it should be."""
    if _is_safetensors(path):
        return _read_safetensors(path)
    if is_torch_archive(path):
        found = read_torch_archive(path)
        if first := next(found, None):
            return itertools.chain([first], found)
    refuse_other_kinds(path, wanted)
    text = told_text(path)
    but = f" (it is {text})" if text else ""
    if path.suffix in _PICKLES:
        raise UserError(f"PyTorch pickle files can run code and are not read{but}", str(path), PICKLE_HINT)
    if path.suffix not in (".safetensors", ".ckpt"):
        raise UserError(f"not a checkpoint{but}", str(path), "use a .safetensors or .ckpt file")
    if text:
        kind = "MindSpore checkpoint" if path.suffix == ".ckpt" else "safetensors file"
        raise UserError(f"damaged {kind}{but}", str(path), DOWNLOAD_HINT)
    return iter(read_ckpt(path).items()) if path.suffix == ".ckpt" else _read_safetensors(path)


def _checked(name: str, value: np.ndarray, path: Path) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):  # a float64 too large for float32 is infinite below
        value = value.astype(np.float32, copy=False)
    # A sum is finite exactly when no entry is NaN or infinite (float64: no overflow).
    if not np.isfinite(value.sum(dtype=np.float64)):
        raise UserError(f"parameter {name} holds NaN or infinity", str(path), "use an earlier checkpoint")
    return value


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as the format does, whatever its name: length of the header, then JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER


def _read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        # Checks the header against the file; it maps the file and reads no tensor.
        with safe_open(str(path), framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"damaged safetensors file ({error})", str(path), "it may be cut short: download or copy it again"
        ) from error
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            kind, (start, end) = entry["dtype"], entry["data_offsets"]
            if kind != "BF16" and kind not in _DTYPES:
                raise UserError(f"parameter {name} has the unsupported type {kind}", str(path))
            stored = np.dtype(np.uint16 if kind == "BF16" else _DTYPES[kind])
            file.seek(8 + size + start)
            array = np.fromfile(file, stored, (end - start) // stored.itemsize)
            if kind == "BF16":
                array = (array.astype(np.uint32) << 16).view(np.float32)
            yield name, array.reshape(entry["shape"])


def _read_parts(index: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read the files an index names, one after another; each holds exactly what the index says."""
    parts = read_index(index)
    if missing := [name for name in parts if not (index.parent / name).is_file()]:
        what = f"{len(missing)} of {len(parts)} parts of the checkpoint are missing: {', '.join(missing[:3])}"
        raise UserError(what, str(index), "download them into the same folder")
    for part, expected in parts.items():
        path = index.parent / part
        found = set()
        for name, value in _read_file(path, "a part of the checkpoint"):
            found.add(name)
            if name in expected:
                yield name, value
        if lacking := sorted(expected - found):
            raise UserError(f"the part of the checkpoint has no {lacking[0]}, which its index names", str(path))


def read_index(path: Path) -> dict[str, set[str]]:
    """Read which parts a checkpoint has, and which tensors are in each.

    Args:
        path: the .safetensors.index.json.

    Returns:
        File name -> names of tensors.

    Raises:
        UserError: not an index, or one that names files elsewhere or of another kind.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        places = content["weight_map"].items()
        if not places or not all(isinstance(part, str) for _, part in places):
            raise ValueError("no names of files in weight_map")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_other_kinds(path, "the index of a checkpoint")
        what = f"cannot use the index of the checkpoint ({type(error).__name__}: {error})"
        raise UserError(what, str(path), "download it again") from error
    parts: dict[str, set[str]] = {}
    for name, part in places:
        if PurePosixPath(part).name != part or "\\" in part or not part.endswith(".safetensors"):
            raise UserError(f"the index of the checkpoint names {part!r}, not a .safetensors file beside it", str(path))
        parts.setdefault(part, set()).add(name)
    return dict(sorted(parts.items()))


def write_safetensors(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as .safetensors, whole or not at all.

    Args:
        path: the file.
        tensors: name -> array, in the precision they shall have.
        metadata: text entries of the file's header; None marks it as PyTorch's, as the released files are.
    """
    # Not by safetensors.save_file: it puts the metadata in another order each time, and lets only the owner read.
    # Widest types first, so that every array is aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    arrays = {name: np.asarray(value, order="C") for name, value in ordered}
    header: dict[str, dict] = {"__metadata__": metadata or {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.type], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.data)
