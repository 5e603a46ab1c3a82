"""What a family of models is to the rest of the program."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from openlrm.cameras.rigs import RIGS, Rig

if TYPE_CHECKING:
    import numpy as np
    from mindspore import nn

    from openlrm.cameras import Camera
    from openlrm.parallel import World
    from openlrm.representations.base import Representation
    from openlrm.training.task import Task

    Tensors = dict[str, np.ndarray]

MODEL_TYPE = "model_type"
SOURCE_SIZE = "source_size"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model of a family by name.

    Attributes:
        name: short name.
        config: contents of its config.json.
        parameters: number of parameters; measured when the preset was written down, and held by a test.
        source_size: side in pixels of the pictures it takes.
        memory_gib: peak memory of pictures to representation on a CPU in float32, GiB; None when not measured.
        source: where memory comes from and where the weights are, for `openlrm models`.
    """

    name: str
    config: dict[str, Any]
    parameters: int
    source_size: int
    memory_gib: float | None
    source: str


@dataclasses.dataclass(frozen=True)
class Golden:
    """A miniature model with numbers that it must give.

    Attributes:
        folder: its files.
        stages: in the model's order.
        check: (opened, stage) -> largest difference relative to the largest value, and what is allowed.
        open: (folder) -> whatever `check` wants; UserError when files are missing or damaged.
    """

    folder: Path
    stages: Sequence[str]
    open: Callable[[Path], Any]
    check: Callable[[Any, str], tuple[str, float, float]]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A part of a model that is exported with static shapes.

    Attributes:
        cell: takes `inputs`, all float32, and gives `outputs`.
        inputs: name -> shape, in order.
        outputs: names.
    """

    cell: nn.Cell
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Sequence[str]


class Family(ABC):
    """A family: subclass it, and name the class in the table of `openlrm.families` or in the entry-point group.

    Modules with a family are imported for `--help`: MindSpore belongs inside the methods.

    Attributes:
        name: `model_type` of its config.json, and the FAMILY in `train.FAMILY`.
        summary: what it does, in a line.
        sources: least and greatest number of source pictures of an object; None for no greatest.
        rigs: what names of cameras mean (`cameras=zero123plus`), in the units of its scenes.
        normalize: what is done to the cameras of posed pictures unless it is said, see
            `openlrm.preprocess.posed_views.ViewOptions`: `source` for models trained with `data.normalize_camera`.
        Config: dataclass of the model's keys in config.json.
        TrainConfig: dataclass of the options of `train.FAMILY`, see `openlrm.training.config.RunConfig`; its field
            `model` is `Config`.
        examples: whole commands shown by `train.FAMILY --help`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    sources: ClassVar[tuple[int, int | None]] = (1, 1)
    rigs: ClassVar[Mapping[str, Rig]] = RIGS
    normalize: ClassVar[str] = "source"
    Config: ClassVar[type]
    TrainConfig: ClassVar[type]
    examples: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def build(self, config: dict[str, Any], there: int | None = None) -> nn.Cell:
        """Make the model; it keeps its `config`, an instance of `Config`.

        Args:
            config: contents of config.json, without `model_type` and `source_size`.
            there: how many numbers the weights' file holds, to refuse what is too large before it is allocated.

        Raises:
            UserError: a config that cannot be.
        """

    @abstractmethod
    def reconstruct(self, model: nn.Cell, pictures: np.ndarray, cameras: Camera, renderer: str) -> Representation:
        """Make a representation of one object.

        Args:
            model: in inference state.
            pictures: (K, 3, S, S) float32 in [0, 1], on white.
            cameras: (K,).
            renderer: see `openlrm.representations.triplane.Triplane`.
        """

    @abstractmethod
    def task(self, config: Any, world: World, resumed: bool) -> Task:
        """What `train.FAMILY` trains.

        Args:
            config: an instance of `TrainConfig`.
            world: the workers.
            resumed: whether weights will come from a state: then none are looked for.
        """

    def translate(self, tensors: Tensors, expected: set[str]) -> Tensors:
        """Names in a checkpoint -> the model's; what optimisers left beside the weights is dropped."""
        return {name: value for name, value in tensors.items() if name in expected}

    def release(self, model: nn.Cell) -> Tensors:
        """Weights by the names of the released layout."""
        return {name: parameter.asnumpy() for name, parameter in model.parameters_and_names()}

    def config_of(self, model: nn.Cell, source_size: int | None = None) -> dict[str, Any]:
        """Contents of a model's config.json; keys without a value are left out."""
        keys = {MODEL_TYPE: self.name} | dataclasses.asdict(model.config) | {SOURCE_SIZE: source_size}
        return {key: value for key, value in keys.items() if value is not None}

    def graphs(self, model: nn.Cell, source_size: int, points: int) -> dict[str, Graph]:
        """What `export.mindir` writes of a model, by name; nothing where a family has none.

        Args:
            model: in inference state.
            source_size: side in pixels of its pictures.
            points: that a field is asked for in one call.
        """
        return {}

    def source_size(self, config: dict[str, Any]) -> int | None:
        """Side in pixels of the pictures that a config.json without `source_size` was made for; None if unknown."""
        return None

    def sources_of(self, model: nn.Cell) -> tuple[int, int | None]:
        """Least and greatest number of source pictures of a model."""
        return self.sources

    def inputs(self, model: nn.Cell) -> int:
        """Number of source pictures that a model is evaluated with."""
        return self.sources[0]

    def size_step(self, model: nn.Cell) -> int:
        """Number of pixels that the side of the pictures must be a multiple of."""
        return 1

    def presets(self) -> Sequence[Preset]:
        """Models with a name, for `openlrm models`."""
        return ()

    def golden(self) -> Golden | None:
        """Numbers that `doctor` checks."""
        return None
