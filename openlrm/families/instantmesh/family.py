"""InstantMesh as a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openlrm.families.family import Family, Preset
from openlrm.families.instantmesh.config import MESH, InstantMeshConfig
from openlrm.families.instantmesh.options import TrainInstantMeshConfig
from openlrm.families.instantmesh.presets import INPUTS, PRESETS, SOURCE_SIZE

if TYPE_CHECKING:
    import numpy as np

    from openlrm.cameras import Camera
    from openlrm.families.family import Tensors
    from openlrm.families.instantmesh.model import ModelInstantMesh
    from openlrm.parallel import World
    from openlrm.representations.base import Representation
    from openlrm.training.task import Task


class InstantMesh(Family):
    """Posed views of an object to a triplane, or to a surface of it."""

    name = "instantmesh"
    summary = "posed views -> triplane or mesh (Xu et al., 2024; the released InstantMesh checkpoints)"
    sources = (2, None)
    normalize = "none"
    Config = InstantMeshConfig
    TrainConfig = TrainInstantMeshConfig
    examples = (
        "python -m openlrm.launch train.instantmesh --config configs/train-instantmesh-tiny.yaml stage=1",
        "python -m openlrm.launch train.instantmesh --config configs/train-instantmesh-tiny.yaml stage=2 "
        "saver.load_model=outputs/instantmesh/TIME start_level=2",
    )

    def build(self, config: dict[str, Any], there: int | None = None) -> ModelInstantMesh:
        """Make a `ModelInstantMesh`."""
        from openlrm.families.instantmesh.model import ModelInstantMesh

        InstantMeshConfig.from_dict(config).check_size(there)
        return ModelInstantMesh(**config)

    def reconstruct(
        self, model: ModelInstantMesh, pictures: np.ndarray, cameras: Camera, renderer: str
    ) -> Representation:
        """The triplane of the views, in the axes of the cameras' world, or its surface."""
        from mindspore import Tensor

        from openlrm.representations.surface import TriplaneSurface
        from openlrm.representations.triplane import Triplane

        planes = model(Tensor(pictures[None]), Tensor(cameras.source_record()[None]))
        if model.config.kind == MESH:
            return TriplaneSurface(planes, model.synthesizer)
        return Triplane(planes, model.synthesizer, renderer)

    def task(self, config: TrainInstantMeshConfig, world: World, resumed: bool) -> Task:
        """Stage 1: views by volume rendering; stage 2: views of the surface."""
        from openlrm.families.instantmesh.task import make_task

        return make_task(self, config, world, resumed)

    def translate(self, tensors: Tensors, expected: set[str]) -> Tensors:
        """Names of any checkpoint of an InstantMesh -> ours; see `openlrm.families.instantmesh.weights`."""
        from openlrm.families.instantmesh.weights import from_checkpoint

        return from_checkpoint(tensors, expected)

    def release(self, model: ModelInstantMesh) -> Tensors:
        """Weights by the names of the released checkpoints."""
        from openlrm.families.instantmesh.weights import to_release

        return to_release(super().release(model))

    def source_size(self, config: dict[str, Any]) -> int | None:
        """Of an encoder that is written out its own; else that of the released models."""
        return (config.get("encoder") or {}).get("img_size", SOURCE_SIZE)

    def inputs(self, model: ModelInstantMesh) -> int:
        """As many as the released models were trained and measured with."""
        return INPUTS

    def size_step(self, model: ModelInstantMesh) -> int:
        """Side of the encoder's patches."""
        return model.encoder.model.spec.patch_size

    def presets(self) -> Sequence[Preset]:
        """The released models and a tiny one."""
        return PRESETS
