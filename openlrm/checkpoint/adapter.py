"""Adapters as files: a folder in the form of Hugging Face's PEFT, which other programs read and write too.

    adapter_config.json         rank, alpha, names of the adapted projections
    adapter_model.safetensors   base_model.model.<projection>.lora_A.weight (r, d) and .lora_B.weight (d, r)

The model is W + (alpha / r) B A for every projection's W. What is ours alone, the hash of the base's weights, stands in
the metadata of the tensors' file: other readers may refuse keys of the config that they do not know.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import nn

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.errors import UserError
from openlrm.nn.transformer.lora import LoRA, adapters_of, attach, attention_outputs, base_parameters
from openlrm.utils.paths import atomic_dir

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"

_HASH = "base_sha256"
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_HINT = "give a LoRA on attention outputs (out_proj), as finetune.lora and PEFT write it"
_UNSUPPORTED = (
    "alpha_pattern",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
    "use_rslora",
)
"""Entries of a PEFT config that change what the tensors mean; empty or false is as if they were not there."""
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""`init_lora_weights` that leave the base's weights as they are."""


@dataclass(frozen=True)
class AdapterFile:
    """An adapter as read.

    Attributes:
        rank: r.
        alpha: strength times rank.
        matrices: name of the projection -> A (r, d) and B (d, r), float32.
        base_name: what the model it was trained on is called.
        base_hash: `weight_hash` of it, if the file says so.
        where: the folder.
    """

    rank: int
    alpha: float
    matrices: dict[str, tuple[np.ndarray, np.ndarray]]
    base_name: str
    base_hash: str | None
    where: Path


def weight_hash(model: nn.Cell) -> str:
    """SHA-256 of a model's weights: names, shapes and float32 numbers, without adapters."""
    digest = hashlib.sha256()
    for name, parameter in sorted(base_parameters(model).items()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(np.ascontiguousarray(parameter.asnumpy(), "<f4").data)
    return digest.hexdigest()


def save_adapter(model: nn.Cell, folder: str | Path, base_name: str) -> None:
    """Write the adapter of a model, the folder whole or not at all; an earlier adapter there is replaced.

    Args:
        model: has an adapter.
        folder: gets the two files.
        base_name: what the base model is called: hub id or folder.

    Raises:
        UserError: no adapter, adapters of several ranks, or a folder that cannot be written or holds other files.
    """
    adapters = adapters_of(model)
    if not adapters:
        raise UserError("the model has no adapter to write", folder)
    strengths = {(adapter.rank, adapter.alpha) for adapter in adapters.values()}
    if len(strengths) > 1:
        raise UserError("the adapters differ in rank or alpha: one file holds one of each", folder)
    ((rank, alpha),) = strengths
    outputs, tensors = attention_outputs(model), {}
    for name, adapter in adapters.items():
        a, b = adapter.standard_matrices(outputs[name].out_proj.weight.asnumpy())
        tensors[f"base_model.model.{name}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = b.astype(np.float32)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else float(alpha),
        "target_modules": list(adapters),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "task_type": None,
    }
    metadata = {"format": "pt", "placement": "output", _HASH: weight_hash(model)}
    with atomic_dir(folder, "adapter_*") as temporary:
        write_safetensors(temporary / WEIGHTS_NAME, tensors, metadata)
        (temporary / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_adapter(model: nn.Cell, folder: str | Path) -> dict[str, LoRA]:
    """Read an adapter and attach it.

    Args:
        model: gets the adapter; unchanged on an error.
        folder: see `read_adapter`.

    Returns:
        The adapters by the name of the projection.

    Raises:
        UserError: not an adapter that can be used, another model's, or a model that has one already.
    """
    file = read_adapter(folder)
    if file.base_hash is not None and file.base_hash != weight_hash(model):
        what = f"the adapter belongs to other weights ({file.base_name}), not to this model's"
        raise UserError(what, file.where, "load the model it was trained on")
    try:
        return attach(model, file.matrices, file.alpha, "input")
    except UserError as error:
        raise UserError(error.what, file.where, error.hint) from error


def read_adapter(folder: str | Path) -> AdapterFile:
    """Read an adapter's folder, ours or another program's, whatever subset of the out_proj it covers.

    Raises:
        UserError: in one line: a file missing, outside the folder or unreadable; another kind of adapter; other targets
            than attention outputs; a config that contradicts the tensors.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError("adapter not found", folder, f"give a folder with {CONFIG_NAME} and {WEIGHTS_NAME}")
    config_file, weights_file = _file_in(folder, CONFIG_NAME), _file_in(folder, WEIGHTS_NAME)
    config = _read_config(config_file)
    rank, alpha = _rank_and_alpha(config, config_file)
    matrices = _pairs(read_tensors(weights_file), weights_file)
    ranks = sorted({size for a, b in matrices.values() for size in (a.shape[0], b.shape[1])})
    if ranks != [rank]:
        what = f"the config says rank {rank}, the tensors have {', '.join(map(str, ranks))}"
        raise UserError(what, folder, "config and tensors belong to different adapters")
    _check_targets(config.get("target_modules"), set(matrices), config_file)
    base_name = config.get("base_model_name_or_path")
    return AdapterFile(rank, alpha, matrices, str(base_name or "unnamed"), _base_hash(weights_file), folder)


def _file_in(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise UserError(f"the adapter has no {name}", folder, _HINT)
    # The hub's cache keeps files beside its snapshots and links to them.
    inside, real = folder.resolve(), path.resolve()
    if real.parent not in (inside, inside.parent.parent / "blobs"):
        raise UserError(f"{name} is a link that leads out of the adapter's folder", folder, "copy the file itself")
    return path


def _read_config(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"unreadable adapter config ({error})", path) from error
    if not isinstance(config, dict):
        raise UserError("the adapter config is not a JSON object", path)
    if config.get("peft_type") != "LORA":
        raise UserError(f"peft_type is {config.get('peft_type')!r}, not 'LORA'", path, _HINT)
    if wrong := [key for key in _UNSUPPORTED if config.get(key)]:
        raise UserError(f"adapters with {wrong[0]} are not supported", path, _HINT)
    if config.get("bias", "none") != "none":
        raise UserError(f"adapters with bias={config['bias']!r} are not supported", path, _HINT)
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        what = (
            f"init_lora_weights={config['init_lora_weights']!r} changes the base's weights, which are not in the file"
        )
        raise UserError(what, path, _HINT)
    return config


def _rank_and_alpha(config: dict, path: Path) -> tuple[int, float]:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1:
        raise UserError(f"r={rank!r} is not a rank", path, "it is a whole number from 1 on")
    if type(alpha) not in (int, float) or not 0 < alpha < 1e9 or not math.isfinite(alpha):
        raise UserError(f"lora_alpha={alpha!r} is not a strength", path, "it is a positive number")
    return rank, float(alpha)


def _pairs(tensors: dict[str, np.ndarray], path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of the projection -> A and B."""
    halves: dict[str, dict[str, np.ndarray]] = {}
    for key, value in tensors.items():
        named = _KEY.fullmatch(key)
        if named is None:
            raise UserError(f"{key} is no lora_A or lora_B of a projection", path, _HINT)
        name, half = named.groups()
        if name.rpartition(".")[2] != "out_proj":
            raise UserError(f"the adapter is for {name}, not for an attention output (out_proj)", path, _HINT)
        if value.ndim != 2 or value.dtype != np.float32:
            raise UserError(f"{key} is {value.dtype} {value.shape}, no matrix of floating point numbers", path, _HINT)
        halves.setdefault(name, {})[half] = value
    if not halves:
        raise UserError("the adapter holds no tensors", path, _HINT)
    for name, pair in halves.items():
        if missing := {"A", "B"} - set(pair):
            raise UserError(f"{name} has no lora_{missing.pop()}", path, "the file is incomplete")
    return {name: (pair["A"], pair["B"]) for name, pair in halves.items()}


def _check_targets(listed: object, found: set[str], path: Path) -> None:
    """Check that the names in a config are those of the tensors; full names, or endings as PEFT understands them.

    A single text is a pattern of PEFT's. It is not evaluated, the tensors tell: a hostile one can take for ever.
    """
    if isinstance(listed, str):
        return
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise UserError(f"target_modules={listed!r} is not a list of names", path, _HINT)
    unused = [entry for entry in listed if not any(_names(entry, name) for name in found)]
    if unused:
        what = f"the config names the target {unused[0]}, of which there are no tensors"
        raise UserError(what, path, "config and tensors belong to different adapters")
    unnamed = sorted(name for name in found if not any(_names(entry, name) for entry in listed))
    if unnamed:
        what = f"there are tensors of {unnamed[0]}, which the config does not name"
        raise UserError(what, path, "config and tensors belong to different adapters")


def _names(entry: str, name: str) -> bool:
    return name == entry or name.endswith(f".{entry}")


def _base_hash(path: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(str(path), framework="np") as file:
        return (file.metadata() or {}).get(_HASH)
