"""Build a model from a checkpoint and write one in the released layout."""

import contextlib
import json
from pathlib import Path

import numpy as np
from mindspore.nn.utils import no_init_parameters

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.locate import CONFIG_NAME, WEIGHTS_NAME, LocatedModel, locate_model
from openlrm.checkpoint.strict import apply_tensors, parameter_arrays
from openlrm.errors import UserError
from openlrm.models.lrm import LRMConfig, ModelLRM
from openlrm.models.lrm.weights import encoder_from_published, from_checkpoint, to_release
from openlrm.utils.paths import atomic_path, ensure_dir


def build_model(located: LocatedModel, strict: bool = True) -> ModelLRM:
    """The model of `located`, its weights loaded, in inference state.

    Raises:
        UserError: bad config or unreadable weights, or (strict) weights that do not fit.
    """
    tensors = read_tensors(located.weights)
    there = sum(value.size for value in tensors.values()) if strict else None
    # With strict every parameter is about to be overwritten: drawing random ones takes seconds for the large models.
    with no_init_parameters() if strict else contextlib.nullcontext():
        model = _from_config(located, there)
    expected = {name for name, _ in model.parameters_and_names()}
    apply_tensors(model, from_checkpoint(tensors, expected), str(located.weights), strict)
    model.set_train(False)
    return model


def _from_config(located: LocatedModel, there: int | None) -> ModelLRM:
    try:
        LRMConfig.from_dict(located.config).check_size(there)
        return ModelLRM(**located.config)
    except UserError as error:
        raise UserError(error.what, located.config_file, error.hint) from error


def load_pretrained(name: str, strict: bool = True) -> ModelLRM:
    """`build_model` of a folder, file or hub id; see `locate_model`."""
    return build_model(locate_model(name), strict)


def save_pretrained(model: ModelLRM, folder: str | Path, half: bool = False) -> None:
    """Write config.json and model.safetensors (the released names) to `folder`.

    Args:
        model: what is written.
        folder: made if it is not there.
        half: float16 instead of float32: half the size, numbers rounded to 11 bits.

    Raises:
        UserError: a weight that float16 cannot hold.
    """
    folder = ensure_dir(folder)
    tensors = to_release(parameter_arrays(model), model.config.encoder_type)
    if half:
        largest = np.finfo(np.float16).max
        if too_large := [name for name, value in tensors.items() if not np.abs(value).max(initial=0) <= largest]:
            raise UserError(f"{too_large[0]} does not fit float16", folder, "write float32")
        tensors = {name: value.astype(np.float16) for name, value in tensors.items()}
    write_safetensors(folder / WEIGHTS_NAME, tensors)
    with atomic_path(folder / CONFIG_NAME) as temporary:
        Path(temporary).write_text(json.dumps(model.config_dict, indent=2) + "\n", encoding="utf-8")


def load_encoder(model: ModelLRM, source: str | Path) -> None:
    """Start `model`'s encoder from a published DINOv2 or DINO checkpoint.

    Args:
        model: its encoder decides which sizes are expected.
        source: a .safetensors file, or a folder with model.safetensors, in Meta's or Hugging Face's layout.

    Raises:
        UserError: not found, or another encoder's weights.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / WEIGHTS_NAME
    if not path.is_file():
        raise UserError("encoder weights not found", str(path), "give a .safetensors file or a folder that holds one")
    tensors = {f"model.{name}": value for name, value in encoder_from_published(read_tensors(path)).items()}
    apply_tensors(model.encoder, tensors, str(path))
