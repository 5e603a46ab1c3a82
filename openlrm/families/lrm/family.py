"""The LRM as a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openlrm.families.family import Family, Golden, Preset
from openlrm.families.lrm.config import LRMConfig
from openlrm.families.lrm.options import TrainLRMConfig
from openlrm.families.lrm.presets import PRESETS, SOURCE_SIZES

if TYPE_CHECKING:
    import numpy as np

    from openlrm.cameras import Camera
    from openlrm.families.family import Graph, Tensors
    from openlrm.families.lrm.model import ModelLRM
    from openlrm.parallel import World
    from openlrm.representations.triplane import Triplane
    from openlrm.training.task import Task


class LRM(Family):
    """Pictures of an object to a triplane: one, or as many as a model was made for."""

    name = "lrm"
    summary = (
        "one picture, or several with their cameras -> triplane (Hong et al., 2023; the released OpenLRM checkpoints)"
    )
    sources = (1, 1)
    Config = LRMConfig
    TrainConfig = TrainLRMConfig
    examples = (
        "python -m openlrm.launch train.lrm --config configs/train-sample-tiny.yaml --overfit 3",
        "python -m openlrm.launch train.lrm --config configs/train-sample-small.yaml --mode 1 --dry_run",
        "python -m openlrm.launch train.lrm --config configs/train-sample-small.yaml --mode 1 --epochs 100000",
        "python -m openlrm.launch train.lrm --config outputs/small/TIME/cfg.yaml --resume outputs/small/TIME",
    )

    def build(self, config: dict[str, Any], there: int | None = None) -> ModelLRM:
        """Make a `ModelLRM`."""
        from openlrm.families.lrm.model import ModelLRM

        return ModelLRM.from_config(config, there)

    def reconstruct(self, model: ModelLRM, pictures: np.ndarray, cameras: Camera, renderer: str) -> Triplane:
        """The triplane of one object."""
        from mindspore import Tensor

        from openlrm.representations.triplane import Triplane

        records = cameras.source_record()
        if model.view_tokens is not None:
            pictures, records = pictures[None], records[None]
        planes = model.forward_planes(Tensor(pictures), Tensor(records))
        return Triplane(planes, model.synthesizer, renderer)

    def task(self, config: TrainLRMConfig, world: World, resumed: bool) -> Task:
        """Training with the gradient in one pass or square by square, as the device needs it."""
        from openlrm.families.lrm.deferred import DeferredLRMTask, check_squares
        from openlrm.families.lrm.task import LRMTask, make_model
        from openlrm.ops import marches_on_host

        kind = LRMTask
        if config.train.deferred_region:
            check_squares(config.data.render_region_size, config.train.deferred_region)
            kind = LRMTask if marches_on_host() else DeferredLRMTask
        return kind(self, config, world, make_model(config, resumed))

    def translate(self, tensors: Tensors, expected: set[str]) -> Tensors:
        """Names of any checkpoint of an LRM -> ours; see `openlrm.families.lrm.weights`."""
        from openlrm.families.lrm.weights import from_checkpoint

        return from_checkpoint(tensors, expected)

    def release(self, model: ModelLRM) -> Tensors:
        """Weights by the names of the released checkpoints."""
        return model.released()

    def graphs(self, model: ModelLRM, source_size: int, points: int) -> dict[str, Graph]:
        """Picture to planes, and the field."""
        from openlrm.families.lrm.graphs import graphs_of

        return graphs_of(model, source_size, points)

    def source_size(self, config: dict[str, Any]) -> int | None:
        """By the sizes of the released models, then by an encoder that is written out."""
        released = SOURCE_SIZES.get((config.get("transformer_dim"), config.get("triplane_dim")))
        return released or (config.get("encoder") or {}).get("img_size")

    def sources_of(self, model: ModelLRM) -> tuple[int, int]:
        """One picture to as many as the model was made for."""
        return 1, model.config.views

    def inputs(self, model: ModelLRM) -> int:
        """As many as the model was made for."""
        return model.config.views

    def size_step(self, model: ModelLRM) -> int:
        """Side of the encoder's patches."""
        return model.encoder.model.spec.patch_size

    def presets(self) -> Sequence[Preset]:
        """The released models and the demonstration."""
        return PRESETS

    def golden(self) -> Golden:
        """The miniature model, stage by stage."""
        from openlrm.families.lrm.golden_check import FOLDER, STAGES, GoldenCase, check_stage

        return Golden(FOLDER, tuple(STAGES), GoldenCase, check_stage)
