"""Options of `train.instantmesh`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.datasets.config import DataConfig
from openlrm.errors import UserError
from openlrm.families.instantmesh.config import KINDS, MESH, NERF, InstantMeshConfig
from openlrm.training.config import ImageLossConfig, ObjectRunConfig, TrainConfig, ValidationConfig

KIND_OF_STAGE = {1: NERF, 2: MESH}


@dataclass
class LossConfig(ImageLossConfig):
    """Weights of the parts of both stages' losses; a part with weight 0 is not computed."""

    pixel_weight: float = option(4.0, "of the colour difference; 4 is 1 on colours in -1..1, as published", minimum=0)
    perceptual_weight: float = option(2.0, "of LPIPS (VGG16)", minimum=0)
    mask_weight: float = option(1.0, "of opacity against alpha", minimum=0)
    depth_weight: float = option(0.5, "stage 2: of depth, where the data has maps", minimum=0)
    normal_weight: float = option(0.2, "stage 2: of normals, where the data has maps", minimum=0)
    sign_weight: float = option(0.01, "stage 2: of the regulariser of the signs", minimum=0)
    deviation_weight: float = option(0.5, "stage 2: of FlexiCubes' L_dev", minimum=0)
    flex_weight: float = option(0.1, "stage 2: of the squared weights of the surface's cubes", minimum=0)
    empty_weight: float = option(1.0, "stage 2: of what leads an object without a surface back to one", minimum=0)


@dataclass
class InstantMeshTrainOptions(TrainConfig):
    """The loop, and how an InstantMesh goes through it."""

    loss: LossConfig = option(LossConfig, "parts of the loss")
    camera_noise: float = option(
        0.02, "greatest change of each number of the cameras that the network is told", minimum=0, maximum=1
    )
    camera_rotation: bool = option(True, "turn each object's cameras by an angle around the upward axis")
    scale_chance: float = option(0.5, "how often an object's cameras are moved nearer or farther", minimum=0, maximum=1)
    scale_range: list[float] = option([0.7, 1.1], "by a factor between these", minimum=0.1, maximum=10, length=2)
    use_recompute: bool = option(False, "compute transformer layers again in the backward pass: less memory")


@dataclass
class PosedDataConfig(DataConfig):
    """Data whose cameras stay where they are."""

    source_image_res: int = option(320, "side in pixels of the model's input", minimum=16)
    sample_side_views: int = option(9, "views rendered of an object, less one; the first are the input", minimum=0)
    render_image_low: int = option(192, "least side in pixels of a whole target image", minimum=2)
    render_image_high: int = option(512, "greatest side in pixels of a whole target image", minimum=2)
    render_region_size: int = option(192, "side in pixels of the region cut out of it", minimum=1)
    backgrounds: list[float] = option([1.0], "grey levels that views are put on", minimum=0, maximum=1)
    normalize_camera: bool = option(False, "turn every object so that the source camera is the canonical one")


@dataclass
class PosedValidationConfig(ValidationConfig):
    """Validation, with views beside those that the model is given."""

    val_views: int = option(10, "views of each, evenly spread; the first `input_views` are the input", minimum=1)


@dataclass
class TrainedModel(InstantMeshConfig):
    """Sizes of a model whose kind follows from the stage."""

    kind: Optional[str] = option(  # noqa: UP045
        None, "nerf or mesh: by the stage without it", choices=KINDS
    )

    def __post_init__(self) -> None:
        """Check as a model's config is checked, once the kind is known."""
        if self.kind is not None:
            super().__post_init__()


@dataclass(kw_only=True)
class TrainInstantMeshConfig(ObjectRunConfig):
    """Options of `train.instantmesh`."""

    stage: int = option(1, "1: by volume rendering; 2: the mesh, from a model of stage 1", choices=[1, 2])
    input_views: int = option(6, "views of an object that the model is given", minimum=2)
    start_level: float = option(
        10.0, "stage 2: raw density of stage 1 at which the surface begins; small models need less"
    )
    model: TrainedModel = option(TrainedModel, "sizes of the model")
    train: InstantMeshTrainOptions = option(InstantMeshTrainOptions, "the loop")
    val: PosedValidationConfig = option(PosedValidationConfig, "validation")
    data: PosedDataConfig = option(help="training data")

    def __post_init__(self) -> None:
        """Bring stage and kind together.

        Raises:
            UserError: they contradict each other.
        """
        wanted = KIND_OF_STAGE[self.stage]
        if self.model.kind not in (None, wanted):
            raise UserError(f"stage={self.stage} trains a {wanted} model, not model.kind={self.model.kind}", "config")
