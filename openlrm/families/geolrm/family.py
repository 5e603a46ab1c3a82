"""GeoLRM as a family."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openlrm.cameras.rigs import RIGS, Rig
from openlrm.families.family import Family, Preset
from openlrm.families.geolrm.config import GeoLRMConfig
from openlrm.families.geolrm.options import TrainGeoLRMConfig
from openlrm.families.geolrm.presets import PRESETS, SOURCE_SIZE

if TYPE_CHECKING:
    import numpy as np

    from openlrm.cameras import Camera
    from openlrm.families.family import Tensors
    from openlrm.families.geolrm.model import GeoLRM
    from openlrm.parallel import World
    from openlrm.representations.gaussians.representation import GaussianScene
    from openlrm.training.task import Task

# The published programs' views, at twice their distances: the scene's cube is twice theirs.
_RIGS = {
    **RIGS,
    "zero123plus": dataclasses.replace(RIGS["zero123plus"], distance=3.0),
    "sv3d": Rig(elevations=(10,), distance=3.0, fov=39.6, count=21),
    "orbit": Rig(elevations=(10,), distance=3.0, fov=39.6),
}


class GeoLRMFamily(Family):
    """Posed pictures of an object to 3D Gaussians."""

    name = "geolrm"
    summary = "posed pictures -> 3D Gaussians (GeoLRM, Zhang et al., 2024)"
    sources = (1, None)
    rigs = _RIGS
    normalize = "none"
    Config = GeoLRMConfig
    TrainConfig = TrainGeoLRMConfig
    examples = (
        "python -m openlrm.launch train.geolrm --config configs/train-geolrm-proposal.yaml --dry_run",
        "python -m openlrm.launch train.geolrm --config configs/train-geolrm.yaml train.proposal=outputs/srl/TIME",
    )

    def build(self, config: dict[str, Any], there: int | None = None) -> GeoLRM:
        """Make a `GeoLRM`."""
        from openlrm.families.geolrm.model import GeoLRM

        return GeoLRM.from_config(config, there)

    def reconstruct(self, model: GeoLRM, pictures: np.ndarray, cameras: Camera, renderer: str) -> GaussianScene:
        """Gaussians of the pictures; they are always drawn by the host's compiled loops."""
        from openlrm.families.geolrm.reconstruct import reconstruct

        return reconstruct(model, pictures, cameras)

    def task(self, config: TrainGeoLRMConfig, world: World, resumed: bool) -> Task:
        """The stage that the options ask for."""
        from openlrm.families.geolrm.task import make_task

        return make_task(self, config, world, resumed)

    def translate(self, tensors: Tensors, expected: set[str]) -> Tensors:
        """Names of a file of either stage -> ours; see `openlrm.families.geolrm.weights`."""
        from openlrm.families.geolrm.weights import from_checkpoint

        return from_checkpoint(tensors, expected)

    def release(self, model: GeoLRM) -> Tensors:
        """Weights by the names of the released checkpoints."""
        return model.released()

    def source_size(self, config: dict[str, Any]) -> int | None:
        """The published model's, or what an encoder that is written out is made for."""
        return (config.get("encoder") or {}).get("img_size", SOURCE_SIZE)

    def size_step(self, model: GeoLRM) -> int:
        """Side of the encoder's patches."""
        return model.patch

    def presets(self) -> Sequence[Preset]:
        """The published model."""
        return PRESETS
