"""Training of a GeoLRM's two stages."""

from __future__ import annotations

from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.cameras import Camera
from openlrm.datasets import batches_per_epoch
from openlrm.families.family import Family
from openlrm.families.geolrm.cells import cell_positions, select_cells
from openlrm.families.geolrm.data import GeoItem, GeoItems, region_cameras
from openlrm.families.geolrm.loss import PROPOSAL_PARTS, VIEW_PARTS, ProposalLoss, ViewLoss
from openlrm.families.geolrm.model import GeoLRM, anchor_tensor
from openlrm.families.geolrm.occupancy import unpack_cells
from openlrm.families.geolrm.options import PROPOSAL, TrainGeoLRMConfig
from openlrm.families.geolrm.reconstruct import camera_tensors, reconstruct
from openlrm.families.geolrm.start import make_model
from openlrm.families.geolrm.units import CUBE
from openlrm.ops import inference_state
from openlrm.parallel import World
from openlrm.representations.base import Representation
from openlrm.training.image_loss import make_lpips
from openlrm.training.objects import ObjectTask
from openlrm.training.parameters import trained_parameters
from openlrm.training.schedule import perceptual_weight
from openlrm.training.task import GradientResult, scalar, tensor
from openlrm.utils.images import blend, resize_bicubic


class _GeoTask(ObjectTask):
    """What both stages share.

    Args:
        family: GeoLRM's.
        config: all options.
        world: the workers.
        model: with the weights that training starts from.
        cells: whether the stage wants the true occupancy.
        depth: whether it wants depth.
    """

    def __init__(
        self, family: Family, config: TrainGeoLRMConfig, world: World, model: GeoLRM, cells: bool, depth: bool
    ) -> None:
        super().__init__(config, world, sources=config.data.inputs[1])
        sizes = model.config
        uids = self.items.uids
        self.items = GeoItems(config.data, config.seed, sizes.grid_size, sizes.voxels, cells, depth, uids)
        self.per_epoch = batches_per_epoch(self.items, world.size * config.train.batch_size)
        self.model = model
        trained = "serializer.*" if config.train.stage == PROPOSAL else "lrm_generator.*"
        self.parameters = trained_parameters(model, [*config.train.only, *([] if config.train.only else [trained])])
        if config.train.freeze:
            kept = {id(p) for p in trained_parameters(model, (), config.train.freeze)}
            self.parameters = [p for p in self.parameters if id(p) in kept]
        self.config_dict = family.config_of(model, config.data.source_image_res)

    def reconstruct(self, pictures: np.ndarray, cameras: Camera) -> Representation:
        """Gaussians of pictures (K, H, W, 4)."""
        size = self.config.data.source_image_res
        shown = resize_bicubic(blend(pictures, 1.0).transpose(0, 3, 1, 2), size)
        with inference_state(self.model):
            return reconstruct(self.model, np.clip(shown, 0, 1).astype(np.float32), cameras, self.config.seed)

    def input_views(self, batch: GeoItem, step: int, part: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, V, 3, S, S), intrinsics and poses of as many views as this step draws."""
        least, most = self.config.data.inputs
        rng = np.random.default_rng([self.config.seed, step, part, self.world.rank])
        count = int(rng.integers(least, most + 1))
        return tensor(batch.source_images[:, :count]), *camera_tensors(batch.source_cameras[:, :count])

    def reseed(self, network: nn.Cell, step: int, part: int) -> None:
        """Start the draws of a network's dropout anew: they are the same when a run goes on."""
        network.transformer.dropout.reseed(self.config.seed, step, part, self.world.rank)


class ProposalTask(_GeoTask):
    """First stage: which cells are occupied."""

    parts = PROPOSAL_PARTS

    def __init__(self, family: Family, config: TrainGeoLRMConfig, world: World, model: GeoLRM) -> None:
        super().__init__(family, config, world, model, cells=True, depth=False)
        self._loss = ProposalLoss(model.serializer)

    @property
    def validates(self) -> bool:
        """There are no Gaussians to look at yet."""
        return False

    def loss(self, step: int) -> nn.Cell:
        """The same in every step."""
        return self._loss

    def inputs(self, batch: GeoItem, step: int, part: int) -> list[Tensor]:
        """Views, and the true occupancy."""
        self.reseed(self.model.serializer, step, part)
        truth = unpack_cells(batch.occupancy, self.model.config.grid_size)
        return [*self.input_views(batch, step, part), tensor(truth)]

    def pictures(self, batch: GeoItem, preview: Tensor) -> None:
        """None: nothing is rendered."""
        return

    def facts(self) -> list[str]:
        """That validation waits for the next stage."""
        return ["validation: none in the proposal stage; IoU of training batches is reported"]


class ReconstructionTask(_GeoTask):
    """Second stage: Gaussians of cells, views rendered one at a time.

    Objects are gone through one by one, for each has its own number of cells. The network runs once without a gradient,
    each view sends its gradient to the Gaussians, and their sum goes through the network once.
    """

    parts = VIEW_PARTS

    def __init__(self, family: Family, config: TrainGeoLRMConfig, world: World, model: GeoLRM) -> None:
        loss = config.train.loss
        super().__init__(family, config, world, model, cells=config.train.true_cells, depth=loss.depth_weight > 0)
        self.region = config.data.render_region_size
        self.lpips = make_lpips(loss, self.region)
        self.settled = loss.perceptual_start + loss.perceptual_warmup
        self._views: dict[tuple[bool, bool], object] = {}
        chain = _Chain(model.lrm_generator)
        self._chain = ms.value_and_grad(chain, None, ms.ParameterTuple(self.parameters))

    @property
    def validates(self) -> bool:
        """Cells that come from the truth are not there in validation."""
        return super().validates and not self.config.train.true_cells

    def gradient(self, batch: GeoItem, step: int, part: int = 0, scale: float = 1.0) -> GradientResult:
        """Gradient of a batch; see `Task.gradient`."""
        network = self.model.lrm_generator
        self.model.set_train(False)
        network.set_train(True)
        views = self.input_views(batch, step, part)
        targets = self._targets(batch, step)
        report, gradients, shown = np.zeros(len(self.parts)), None, []
        for b in range(len(batch.images)):
            seen = tuple(x[b : b + 1] for x in views)
            points = anchor_tensor(self._anchors(batch, b, seen, step, part))
            self.reseed(network, step, part)
            gaussians = [x[0] for x in network.gaussians(points, network(points, *seen))]
            parts, pulls, pictures = self._through_views(gaussians, targets, b, step, scale)
            self.reseed(network, step, part)
            with _kept_statistics(network):
                _, found = self._chain(points, *seen, *pulls)
            gradients = found if gradients is None else tuple(a + g for a, g in zip(gradients, found, strict=True))
            report += parts
            shown.append(ops.stack(pictures))
        return GradientResult(dict(zip(self.parts, report.tolist(), strict=True)), gradients, ops.stack(shown))

    def _through_views(self, gaussians: list[Tensor], targets: dict, b: int, step: int, scale: float):
        """Report (7,), gradient of each of the five arrays times `scale`, and pictures, of one object."""
        weight = perceptual_weight(step, self.config.train.loss)
        function = self._view_gradient(weight > 0, "depth" in targets)
        report, pulls, pictures = np.zeros(len(self.parts)), None, []
        for m in range(len(targets["rgb"][b])):
            inputs = [tensor(array[b][m]) for array in targets["arrays"]]
            (_, parts, picture), found = function(*gaussians, *inputs, *targets["shared"], scalar(weight))
            pulls = found if pulls is None else tuple(a + g for a, g in zip(pulls, found, strict=True))
            report += parts.asnumpy()
            pictures.append(picture)
        return report, [pull * scale for pull in pulls], pictures

    def _targets(self, batch: GeoItem, step: int) -> dict:
        """What each view is compared with, arrays (B, M, ...), and what all views share."""
        rgb, alpha = batch.images, batch.masks
        cameras = region_cameras(batch.cameras, batch.anchors, batch.sizes, self.region)
        poses = np.concatenate([cameras.c2w, np.broadcast_to(_LAST_ROW, (*cameras.shape, 1, 4))], axis=2)
        poses[..., :3, 3] *= CUBE
        background = np.repeat(batch.backgrounds[..., None], 3, axis=-1)
        depth = np.zeros_like(alpha) if batch.depths is None else batch.depths * np.float32(CUBE)
        valid = (depth > 0) if self.config.train.loss.depth_mask == "valid" else np.ones(depth.shape, bool)
        mask = ((alpha > 0) & valid).astype(np.float32)
        counts = [max(float(mask[..., :-1].sum()), 1.0), max(float(mask[..., :-1, :].sum()), 1.0)]
        share = 1 / (rgb.shape[0] * rgb.shape[1])
        targets = {
            "rgb": rgb,
            "arrays": (poses, cameras.intrinsics, background, rgb, alpha, depth, mask),
            "shared": (tensor(np.array(counts)), scalar(share)),
        }
        return targets | ({} if batch.depths is None else {"depth": depth})

    def _anchors(self, batch: GeoItem, b: int, seen: tuple[Tensor, ...], step: int, part: int) -> np.ndarray:
        """Where the cells (S, 3) stand that Gaussians are made of."""
        config, train = self.model.config, self.config.train
        if train.true_cells:
            logits = unpack_cells(batch.occupancy[b : b + 1], config.grid_size)[0].astype(np.float32)
        else:
            with inference_state(self.model.serializer):
                logits = self.model.occupancy(*seen).asnumpy()[0]
        threshold = 0.0 if train.true_cells else config.occupancy_threshold
        seed = (self.config.seed, step, part, self.world.rank, b)
        cells = select_cells(logits, train.anchors, threshold, config.subset, seed)
        return cell_positions(cells, config.grid_size, config.voxels)

    def _view_gradient(self, with_lpips: bool, with_depth: bool):
        key = (with_lpips, with_depth)
        if key not in self._views:
            lpips = self.lpips if with_lpips else None
            loss = ViewLoss(self.config.train.loss, (self.region, self.region), lpips, with_depth)
            self._views[key] = ms.value_and_grad(loss, (0, 1, 2, 3, 4), has_aux=True)
        return self._views[key]

    def stages(self, batch: GeoItem, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        """The Gaussians of the first object."""
        seen = tuple(x[:1] for x in self.input_views(batch, step, part))
        points = anchor_tensor(self._anchors(batch, 0, seen, step, part))
        with inference_state(self.model):
            found = self.model(points, *seen)
        names = ("means", "scales", "rotations", "opacities", "colours")
        return ((f"{name} of Gaussians", x.asnumpy()) for name, x in zip(names, found, strict=True))


class _Chain(nn.Cell):
    """<Gaussians, their gradients>: its gradient is the chain rule's next link."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, points, images, intrinsics, c2w, *pulls):
        """() scalar."""
        gaussians = self.network.gaussians(points, self.network(points, images, intrinsics, c2w))
        total = 0
        for values, pull in zip(gaussians, pulls, strict=True):
            total = total + (values[0] * pull).sum()
        return total


class _kept_statistics:
    """The network's running statistics as they were before the block: one forward pass moves them, not two."""

    def __init__(self, network: nn.Cell):
        norms = (network.encoder.deconv[1], network.encoder.low_level_encoder[1])
        self._statistics = [p for norm in norms for p in (norm.running_mean, norm.running_var)]

    def __enter__(self) -> None:
        self._values = [p.asnumpy().copy() for p in self._statistics]

    def __exit__(self, *_) -> None:
        for parameter, value in zip(self._statistics, self._values, strict=True):
            parameter.set_data(Tensor(value))


_LAST_ROW = np.array([[0, 0, 0, 1]], np.float32)


def make_task(family: Family, config: TrainGeoLRMConfig, world: World, resumed: bool) -> _GeoTask:
    """The task of the stage that the options ask for.

    Raises:
        UserError: data or weights that cannot be used.
    """
    kind = ProposalTask if config.train.stage == PROPOSAL else ReconstructionTask
    return kind(family, config, world, make_model(config, resumed))
