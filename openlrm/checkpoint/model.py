"""Build a model of any family from a checkpoint, and write one: config.json and model.safetensors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.locate import CONFIG_NAME, WEIGHTS_NAME, LocatedModel
from openlrm.checkpoint.strict import apply_tensors
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path, ensure_dir

Tensors = dict[str, np.ndarray]
Build = Callable[[dict, int | None], nn.Cell]
"""(contents of config.json, numbers in the weights' file or None) -> the model; UserError for one that cannot be."""
Translate = Callable[[Tensors, set[str]], Tensors]
"""(what the file holds, parameter names of the model) -> the same values by the model's names."""


def load_model(located: LocatedModel, build: Build, translate: Translate, strict: bool = True) -> nn.Cell:
    """The model of `located`, its weights loaded, in inference state.

    Args:
        located: see `locate_model`.
        build: makes the Cell.
        translate: names of the file's weights.
        strict: whether weights that do not fit are an error; otherwise they are told and left out.

    Raises:
        UserError: bad config or unreadable weights, or (strict) weights that do not fit.
    """
    tensors = read_tensors(located.weights)
    there = sum(value.size for value in tensors.values()) if strict else None
    # With strict every parameter is about to be overwritten: drawing random ones takes seconds for the large models.
    with no_init_parameters() if strict else contextlib.nullcontext():
        try:
            model = build(located.config, there)
        except UserError as error:
            raise UserError(error.what, located.config_file, error.hint) from error
    expected = {name for name, _ in model.parameters_and_names()}
    apply_tensors(model, translate(tensors, expected), str(located.weights), strict)
    model.set_train(False)
    return model


def save_model(folder: str | Path, config: dict, tensors: Tensors, half: bool = False) -> None:
    """Write config.json and model.safetensors to `folder`.

    Args:
        folder: made if it is not there.
        config: contents of config.json.
        tensors: the weights, by the names of the released layout.
        half: float16 instead of float32: half the size, numbers rounded to 11 bits.

    Raises:
        UserError: a weight that float16 cannot hold.
    """
    folder = ensure_dir(folder)
    if half:
        largest = np.finfo(np.float16).max
        if too_large := [name for name, value in tensors.items() if not np.abs(value).max(initial=0) <= largest]:
            raise UserError(f"{too_large[0]} does not fit float16", folder, "write float32")
        tensors = {name: value.astype(np.float16) for name, value in tensors.items()}
    write_safetensors(folder / WEIGHTS_NAME, tensors)
    with atomic_path(folder / CONFIG_NAME) as temporary:
        Path(temporary).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
