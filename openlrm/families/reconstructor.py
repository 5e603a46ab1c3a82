"""One way from pictures to a representation, for a model of any family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openlrm.cameras import DEFAULT_DISTANCE, Camera
from openlrm.checkpoint import LocatedModel, load_model, locate_model
from openlrm.checkpoint.adapter import load_adapter, read_adapter
from openlrm.errors import UserError
from openlrm.families import DEFAULT, find_family
from openlrm.families.family import MODEL_TYPE, SOURCE_SIZE, Family
from openlrm.ops import inference_state
from openlrm.preprocess.model_input import prepare_image
from openlrm.utils.run_files import trained_source_size

if TYPE_CHECKING:
    from mindspore import nn

    from openlrm.representations.base import Representation


class Reconstructor:
    """A model with the size of pictures it was made for.

    Args:
        family: of the model.
        model: with its weights.
        source_size: side in pixels of the pictures.
        name: short name, for folders and messages.

    Raises:
        UserError: a size that the model cannot take.
    """

    def __init__(self, family: Family, model: nn.Cell, source_size: int, name: str = "model"):
        step = family.size_step(model)
        if source_size % step:
            raise UserError(f"source_size={source_size} is not a multiple of the encoder's patch side {step}")
        self.family, self.model, self.source_size, self.name = family, model, source_size, name

    @classmethod
    def load(
        cls,
        located: LocatedModel,
        source_size: int | None = None,
        strict: bool = True,
        adapter: str | Path | None = None,
    ) -> Reconstructor:
        """Load a model.

        Args:
            located: see `openlrm.checkpoint.locate_model`.
            source_size: side in pixels of the pictures; what the model was made for without it.
            strict: see `openlrm.checkpoint.load_model`.
            adapter: folder of a LoRA to put onto it, see `openlrm.checkpoint.adapter`.

        Raises:
            UserError: unreadable, of an unknown family, or of an unknown input size; an adapter that does not fit.
        """
        size = source_size or known_source_size(located)
        if size is None:
            raise UserError("source_size is missing", hint="the model does not say which size of input it was made for")
        return cls(family_of(located), build_model(located, strict, adapter), size, located.name)

    def prepare(self, pictures: Any, names: Any = None) -> np.ndarray:
        """Pictures as the model takes them, see `openlrm.preprocess.model_input.prepare_image`.

        Args:
            pictures: one, or a sequence of them, each anything that `openlrm.utils.images.load_pixels` takes.
            names: what to call it, or each of them, in messages.

        Returns:
            (K, 3, S, S) float32 in [0, 1].

        Raises:
            UserError: a picture that cannot be used, or another number of them than the family takes.
        """
        several = isinstance(pictures, Sequence) and not isinstance(pictures, (str, bytes))
        listed = list(pictures) if several or getattr(pictures, "ndim", 3) == 4 else [pictures]
        least, most = self.family.sources_of(self.model)
        if len(listed) < least or (most is not None and len(listed) > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            hint = f"view={most} keeps so many of posed pictures" if len(listed) > least else None
            raise UserError(f"{len(listed)} pictures, but {self.name} takes {wanted} of an object", hint=hint)
        called = list(names) if several and isinstance(names, Sequence) and not isinstance(names, str) else [names]
        called = called if len(called) == len(listed) else called * len(listed)
        return np.concatenate(
            [prepare_image(one, self.source_size, name) for one, name in zip(listed, called, strict=True)]
        )

    def __call__(
        self,
        pictures: Any,
        cameras: Camera | None = None,
        renderer: str = "auto",
        name: Any = None,
        source_cam_dist: float = DEFAULT_DISTANCE,
    ) -> Representation:
        """Reconstruct an object.

        Args:
            pictures: see `prepare`; transparent or white behind the object.
            cameras: that took them, (K,) or () for one picture; for one picture the canonical one without it.
            renderer: see `openlrm.representations.triplane.Triplane`.
            name: what to call the pictures in messages.
            source_cam_dist: distance of the canonical camera, in units of the scene.

        Raises:
            UserError: pictures that cannot be used, cameras that do not fit them, or weights that give nothing finite.
        """
        prepared = self.prepare(pictures, name)
        if cameras is None:
            if len(prepared) > 1:
                raise UserError(f"{len(prepared)} pictures without their cameras", hint="give a camera for each")
            cameras = Camera.canonical(source_cam_dist)
        if cameras.shape == ():
            cameras = cameras[None]
        if cameras.shape != (len(prepared),):
            raise UserError(f"{len(prepared)} pictures, but cameras for {' x '.join(map(str, cameras.shape))}")
        with inference_state(self.model):
            made = self.family.reconstruct(self.model, prepared, cameras, renderer)
        if what := made.non_finite():
            raise UserError(f"{what} holds NaN or infinity", hint="are the weights damaged?")
        return made


def family_of(located: LocatedModel) -> Family:
    """The family that a model's config.json names.

    Raises:
        UserError: it is not known here.
    """
    try:
        return find_family(located.config.get(MODEL_TYPE, DEFAULT))
    except UserError as error:
        raise UserError(error.what, located.config_file, error.hint) from error


def build_model(located: LocatedModel, strict: bool = True, adapter: str | Path | None = None) -> nn.Cell:
    """The model of `located`, of whatever family, its weights and an adapter's loaded, in inference state.

    Raises:
        UserError: bad config or unreadable weights, or (strict) weights that do not fit; an adapter that does not.
    """
    if adapter is not None:
        read_adapter(adapter)  # before a large model is read for nothing
    family = family_of(located)
    model = load_model(located, lambda keys, there: family.build(model_keys(keys), there), family.translate, strict)
    model.source_size = located.config.get(SOURCE_SIZE)
    if adapter is not None:
        load_adapter(model, adapter)
    return model


def load_pretrained(name: str, strict: bool = True) -> nn.Cell:
    """`build_model` of a folder, file or hub id; see `locate_model`."""
    return build_model(locate_model(name), strict)


def model_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Contents of a config.json without what belongs to every family."""
    return {key: value for key, value in config.items() if key not in (MODEL_TYPE, SOURCE_SIZE)}


def known_source_size(located: LocatedModel) -> int | None:
    """Side in pixels of the pictures a model was made for; None when nothing tells it.

    config.json says so; where it is older than that key, the training's own settings, then what the family knows.

    Raises:
        UserError: a size that is no positive whole number.
    """
    size = located.config.get(SOURCE_SIZE)
    if size is not None:
        if type(size) is not int or size < 1:
            raise UserError(f"source_size={size!r} is not a positive whole number", located.config_file)
        return size
    folder = Path(located.config_file).parent
    return trained_source_size(folder) or family_of(located).source_size(model_keys(located.config))


def results_of(located: LocatedModel, adapter: str | Path | None) -> Path:
    """Folder, below others, of a model's results; those with an adapter are not the bare model's."""
    results = located.results
    return results if adapter is None else results.with_name(f"{results.name}+{Path(adapter).resolve().name}")
