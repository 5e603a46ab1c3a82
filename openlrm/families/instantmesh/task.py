"""`train.instantmesh`: what the loop trains, views of an object to other views of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor, nn

from openlrm.cameras import Camera
from openlrm.datasets import Item
from openlrm.datasets.maps import MapItems
from openlrm.errors import UserError
from openlrm.families.family import Family
from openlrm.families.instantmesh.augment import augment, noisy_records
from openlrm.families.instantmesh.loss import SURFACE_PARTS, VOLUME_PARTS, SurfaceLoss, VolumeLoss
from openlrm.families.instantmesh.model import ModelInstantMesh
from openlrm.families.instantmesh.options import TrainInstantMeshConfig
from openlrm.families.instantmesh.start import make_model
from openlrm.families.reconstructor import Reconstructor
from openlrm.ops import inference_state
from openlrm.parallel import World
from openlrm.representations.base import Representation
from openlrm.representations.surface import TriplaneSurface
from openlrm.training.image_loss import ImageLoss, make_lpips
from openlrm.training.noise import ray_noise
from openlrm.training.objects import ObjectTask
from openlrm.training.parameters import trained_parameters
from openlrm.training.schedule import perceptual_weight
from openlrm.training.task import scalar, tensor
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# Among the draws of a step, those of worlds and cameras; the renderer's have no such number.
_WORLD_DRAWS = 7


class PosedTask(ObjectTask):
    """What both stages share: K views with their cameras are given, all views drawn of an object are rendered.

    Args:
        family: InstantMesh's.
        config: all options.
        world: the workers.
        model: with the weights that training starts from, see `make_model`.

    Raises:
        UserError: data that cannot be, or options that do not fit it.
    """

    def __init__(self, family: Family, config: TrainInstantMeshConfig, world: World, model: ModelInstantMesh) -> None:
        super().__init__(config, world, sources=config.input_views)
        self.model = model
        self.parameters = trained_parameters(model, config.train.only, config.train.freeze)
        self.config_dict = family.config_of(model, config.data.source_image_res)
        self.region = config.data.render_region_size
        self.lpips = make_lpips(config.train.loss, self.region)
        self.settled = config.train.loss.perceptual_start + config.train.loss.perceptual_warmup
        self._reconstructor = Reconstructor(family, model, config.data.source_image_res)
        self._losses: dict[bool, nn.Cell] = {}

    def reconstruct(self, pictures: np.ndarray, cameras: Camera) -> Representation:
        """What the model makes of pictures (K, H, W, 4)."""
        return self._reconstructor(list(pictures), cameras, name="validation view")

    def loss(self, step: int) -> nn.Cell:
        """The loss with or without LPIPS: a part without weight is not computed."""
        loss = self.config.train.loss
        with_lpips = perceptual_weight(step, loss) > 0
        if with_lpips not in self._losses:
            self._losses[with_lpips] = self.make_loss(ImageLoss(loss, self.lpips if with_lpips else None))
        return self._losses[with_lpips]

    def make_loss(self, image_loss: ImageLoss) -> nn.Cell:
        """The stage's loss."""
        raise NotImplementedError

    def drawn(self, batch: Item, step: int, part: int) -> tuple[Item, np.ndarray]:
        """The batch in worlds of this step's draw, and the records (N, K, 16) that the network is told."""
        train, key = self.config.train, [self.config.seed, step, part, self.world.rank, _WORLD_DRAWS]
        rng = np.random.default_rng(key)
        batch = augment(batch, rng, train.camera_rotation, train.scale_chance, tuple(train.scale_range))
        return batch, noisy_records(batch.source_cameras, rng, train.camera_noise)

    def inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """What the stage's loss takes, but the loss scale."""
        weight = perceptual_weight(step, self.config.train.loss)
        return [*self.scene_inputs(batch, step, part), scalar(weight)]

    def scene_inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """The same without the weight of LPIPS."""
        raise NotImplementedError

    def render(self, batch: Item, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Planes (N, 3, C, H, W), colours (N, M, 3, R, R) and opacity (N, M, 1, R, R) of a batch; no gradient."""
        return self._render(batch, step, 0)

    def _render(self, batch: Item, step: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        raise NotImplementedError

    def stages(self, batch: Item, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        """Planes and renders."""
        names = ("planes", "rendered colours", "rendered opacity")
        return zip(names, self._render(batch, step, part), strict=True)

    def facts(self) -> list[str]:
        """Also what the model is given and must render."""
        views = self.config.data.sample_side_views + 1
        return [f"{self.config.input_views} views in, {views} views rendered of each object", *super().facts()]


class VolumeTask(PosedTask):
    """Stage 1: regions of the views by volume rendering."""

    parts = VOLUME_PARTS

    def make_loss(self, image_loss: ImageLoss) -> nn.Cell:
        """`VolumeLoss`."""
        return VolumeLoss(self.model, image_loss, self.region)

    def scene_inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """Views, their cameras, what the renderer takes of the target views, its two draws, targets."""
        batch, records = self.drawn(batch, step, part)
        objects, views = batch.cameras.shape
        rays = objects * views * self.region**2
        samples, world = self.model.synthesizer.samples, self.world
        arrays = [
            batch.source_images,
            records,
            batch.cameras.render_record(),
            batch.anchors,
            batch.sizes[..., None],
            batch.backgrounds[..., None],
            *ray_noise(self.config.seed, step, part, rays, samples, world.rank, world.size),
            batch.images,
            batch.masks,
        ]
        return [tensor(array) for array in arrays]

    def _render(self, batch: Item, step: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with inference_state(self.model):
            images, records, *view = self.scene_inputs(batch, step, part)
            planes = self.model(images, records)
            shown = self.model.synthesizer(planes, *view[:4], self.region, *view[4:6])
            return tuple(x.asnumpy() for x in (planes, shown["images_rgb"], shown["images_weight"]))


class SurfaceTask(PosedTask):
    """Stage 2: regions of the views by looking at the surface.

    Raises:
        UserError: graph mode, or views that are not on white.
    """

    parts = SURFACE_PARTS

    def __init__(self, family: Family, config: TrainInstantMeshConfig, world: World, model: ModelInstantMesh) -> None:
        if config.mode == 0:
            raise UserError("stage=2 needs mode=1: the shapes of a surface depend on the data", "config")
        if set(config.data.backgrounds) != {1.0}:
            raise UserError("stage=2 renders on white", "config", "give data.backgrounds=[1]")
        super().__init__(family, config, world, model)
        self._told = False
        if config.train.loss.depth_weight or config.train.loss.normal_weight:
            self.items = MapItems(config.data, config.seed, self.items.uids, self.items.sources)

    def reconstruct(self, pictures: np.ndarray, cameras: Camera) -> Representation:
        """The surface of pictures (K, H, W, 4); without one, what a guard puts in its place."""
        made = super().reconstruct(pictures, cameras)
        return TriplaneSurface(made.planes, made.synthesizer, guard=True)

    def make_loss(self, image_loss: ImageLoss) -> nn.Cell:
        """`SurfaceLoss`."""
        return SurfaceLoss(self.model, image_loss, self.config.train.loss)

    def scene_inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """Views, their cameras, the target views' cameras, targets; depth and normals where the data has maps."""
        batch, records = self.drawn(batch, step, part)
        self._tell_missing(batch)
        intrinsics = region_intrinsics(batch, self.region)
        depth, normal = batch.depths, batch.normals
        missing = np.zeros(0, np.float32)
        arrays = [
            batch.source_images,
            records,
            batch.cameras.w2c(opencv=False),
            intrinsics,
            batch.images,
            batch.masks,
            missing if depth is None else depth * axis_share(intrinsics, self.region),
            missing if normal is None else normal,
        ]
        return [tensor(array) for array in arrays]

    def _tell_missing(self, batch: Item) -> None:
        """Say once which parts of the loss the data has no maps for."""
        loss = self.config.train.loss
        wanted = {"depth": (loss.depth_weight, batch.depths), "normal": (loss.normal_weight, batch.normals)}
        missing = [name for name, (weight, maps) in wanted.items() if weight > 0 and maps is None]
        if missing and not self._told:
            logger.warning("the data has no %s maps: these parts of the loss are left out", " and no ".join(missing))
        self._told = True

    def _render(self, batch: Item, step: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with inference_state(self.model):
            images, records, w2c, intrinsics, *_ = self.scene_inputs(batch, step, part)
            planes, size = self.model(images, records), (self.region, self.region)
            shown, synthesizer = [], self.model.synthesizer
            for i, cameras in enumerate(zip(w2c.asnumpy(), intrinsics.asnumpy(), strict=True)):
                mesh = synthesizer.geometry(planes[i : i + 1], guard=True).mesh()
                shown.append(synthesizer.views(planes[i : i + 1], mesh, *cameras, size))
            colours = np.stack([img.asnumpy() for img, _ in shown])
            return planes.asnumpy(), colours, np.stack([seen.mask.asnumpy() for _, seen in shown])


def region_intrinsics(batch: Item, region: int) -> np.ndarray:
    """Intrinsics (N, M, 4) of the regions alone, over their side: a region of a view is a view of its own."""
    share = batch.sizes[..., None] / region
    corner = batch.anchors[..., ::-1] / region
    focal, centre = batch.cameras.intrinsics[..., :2], batch.cameras.intrinsics[..., 2:]
    return np.concatenate([focal * share, centre * share - corner], axis=-1).astype(np.float32)


def axis_share(intrinsics: np.ndarray, side: int) -> np.ndarray:
    """Depth along the viewing axis over distance along the ray, (N, M, 1, side, side), of each pixel."""
    middle = (np.arange(side) + 0.5) / side
    fx, fy, cx, cy = (intrinsics[..., k, None, None] for k in range(4))
    x, y = (middle - cx) / fx, (middle[:, None] - cy) / fy
    return (1 / np.sqrt(1 + x**2 + y**2))[:, :, None].astype(np.float32)


def make_task(family: Family, config: TrainInstantMeshConfig, world: World, resumed: bool) -> PosedTask:
    """The task of the stage.

    Raises:
        UserError: see `make_model` and the tasks.
    """
    kind = VolumeTask if config.stage == 1 else SurfaceTask
    return kind(family, config, world, make_model(config, resumed))
