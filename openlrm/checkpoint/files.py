"""Tensors in .safetensors and MindSpore .ckpt files. Neither can carry code."""

import json
from pathlib import Path

import numpy as np

from openlrm.checkpoint.ckpt import read_ckpt
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

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


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read all tensors of a checkpoint file.

    Args:
        path: a .safetensors or .ckpt file.

    Returns:
        name -> array; floating point as float32, whatever the file's precision.

    Raises:
        UserError: missing, of an unknown kind, a pickle (they can run code), truncated or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("checkpoint not found", str(path))
    if path.suffix in _PICKLES:
        raise UserError(
            "PyTorch pickle files can run code and are not read",
            str(path),
            "convert it with PyTorch: safetensors.torch.save_file(torch.load(x, weights_only=True), 'x.safetensors')",
        )
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix == ".ckpt":
        tensors = read_ckpt(path)
    else:
        raise UserError("not a checkpoint", str(path), "use a .safetensors or .ckpt file")
    with np.errstate(over="ignore"):  # a float64 too large for float32 is infinite below
        tensors = {k: v.astype(np.float32, copy=False) if v.dtype.kind == "f" else v for k, v in tensors.items()}
    for name, value in tensors.items():
        # A sum is finite exactly when no entry is NaN or infinite (float64: no overflow).
        if value.dtype.kind == "f" and not np.isfinite(value.sum(dtype=np.float64)):
            raise UserError(f"parameter {name} holds NaN or infinity", str(path), "use an earlier checkpoint")
    return tensors


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise UserError(
            f"damaged safetensors file ({error})", str(path), "it may be cut short: download or copy it again"
        ) from error
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] == "BF16":
            wide = np.frombuffer(entry["data"], np.uint16).astype(np.uint32) << 16
            array = wide.view(np.float32)
        elif entry["dtype"] in _DTYPES:
            array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]])
        else:
            raise UserError(f"parameter {name} has the unsupported type {entry['dtype']}", str(path))
        tensors[name] = array.reshape(entry["shape"])
    return tensors


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
