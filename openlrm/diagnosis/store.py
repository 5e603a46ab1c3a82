"""Files of a diagnosis: reference planes, and of every experiment the figures as JSON and the arrays as NPZ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.diagnosis.study import Outcome
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path
from openlrm.utils.plain import plain

FORMAT = "openlrm-oracle"
NAMES = {"predinit": "_triplane_predinit.safetensors", "rand": "_triplane.safetensors"}
"""Start of a fit -> what follows the object's name."""


def result_file(folder: Path, experiment: str, uid: str) -> Path:
    """The JSON of an experiment on an object."""
    return folder / experiment / f"{uid}_{experiment}.json"


def is_done(path: Path, protocol: dict[str, Any]) -> bool:
    """Whether a result made under the same protocol is there.

    Raises:
        UserError: one made under another protocol is.
    """
    if not path.is_file():
        return False
    try:
        there = json.loads(path.read_text(encoding="utf-8"))["protocol"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the result that is there ({error})", path, "remove it") from error
    wanted = plain(protocol)
    changed = [key for key in wanted if there.get(key) != wanted[key] and key != "versions"]
    if changed:
        listed = ", ".join(f"{key} {there.get(key)} -> {wanted[key]}" for key in changed)
        raise UserError(f"a result with other options is there: {listed}", path, "give another output, or remove it")
    return True


def write_result(path: Path, protocol: dict[str, Any], outcome: Outcome, seconds: float) -> None:
    """Write arrays, then figures: a JSON that is there is whole."""
    with atomic_path(path.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **outcome.arrays)
    found = {"protocol": protocol, "figures": outcome.figures, "seconds": round(seconds, 1)}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plain(found), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_reference(path: Path, prediction: np.ndarray, reference: np.ndarray, about: dict[str, Any]) -> None:
    """Write t_pred and t_ref (3, C, H, W) with what they belong to."""
    metadata = {"format": FORMAT} | {key: str(value) for key, value in about.items()}
    write_safetensors(path, {"t_pred": prediction, "t_ref": reference}, metadata)


def find_reference(given: str | None, folder: Path, uid: str) -> Path:
    """The file of reference planes: the one given, else the oracle's from the prediction, else from noise.

    A `.pt` beside such a file means that file; a pickle itself is never read.

    Raises:
        UserError: there is none.
    """
    if given is not None:
        path = Path(given)
        if path.suffix != ".pt":
            return path
        stem = path.stem.removesuffix("_triplane_predinit").removesuffix("_triplane")
        beside = [path.with_name(f"{stem}{ending}") for ending in NAMES.values()]
        for found in beside:
            if found.is_file():
                return found
        what = "a .pt file is a pickle, which could run anything, and is not read"
        raise UserError(what, path, f"give {beside[0].name}, as diagnose.oracle writes it")
    for ending in NAMES.values():
        path = folder / "oracle" / f"{uid}{ending}"
        if path.is_file():
            return path
    raise UserError(
        f"no reference planes of {uid}", folder / "oracle", "run diagnose.oracle with the same output first"
    )


def read_reference(path: Path, uid: str, model_hash: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Planes t_pred and t_ref (3, C, H, W).

    Raises:
        UserError: another kind of file, another model's or another object's planes, NaN, or no residual at all.
    """
    from safetensors import safe_open

    tensors = read_tensors(path)
    if path.suffix != ".safetensors" or set(tensors) != {"t_pred", "t_ref"}:
        raise UserError("not a file of reference planes", path, "give one that diagnose.oracle wrote")
    with safe_open(str(path), framework="np") as file:
        about = file.metadata() or {}
    if about.get("format") != FORMAT:
        raise UserError("not a file of reference planes", path, "give one that diagnose.oracle wrote")
    for name, planes in tensors.items():
        if planes.shape != shape:
            what = f"{name} is {planes.shape}, the model's planes are {shape}"
            raise UserError(what, path, "the planes belong to another model")
        if not np.isfinite(planes).all():
            raise UserError(f"{name} holds NaN or infinity", path)
    if about.get("model_hash") != model_hash:
        what = f"the planes belong to other weights ({about.get('model_name')})"
        raise UserError(what, path, "fit new ones with diagnose.oracle, or load that model and adapter")
    if about.get("uid") != uid:
        raise UserError(f"the planes are of {about.get('uid')}, not of {uid}", path)
    if np.array_equal(tensors["t_pred"], tensors["t_ref"]):
        raise UserError("t_pred and t_ref are equal: there is no residual to look at", path)
    return tensors["t_pred"], tensors["t_ref"]
