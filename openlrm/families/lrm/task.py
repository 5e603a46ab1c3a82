"""`train.lrm`: what the loop trains, one picture of an object to its views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from openlrm.cameras import Camera
from openlrm.checkpoint import apply_tensors, locate_model, read_tensors
from openlrm.checkpoint.strict import parameter_arrays
from openlrm.datasets import Item
from openlrm.errors import UserError
from openlrm.families.family import Family
from openlrm.families.lrm.config import LRMConfig
from openlrm.families.lrm.estimate import estimate_memory
from openlrm.families.lrm.loss import PARTS, LRMLoss
from openlrm.families.lrm.model import ModelLRM
from openlrm.families.lrm.options import TrainLRMConfig
from openlrm.families.lrm.pretrained import load_encoder
from openlrm.families.lrm.start import strong_start
from openlrm.families.lrm.weights import from_checkpoint
from openlrm.families.reconstructor import Reconstructor, model_keys
from openlrm.ops import inference_state, marches_on_host
from openlrm.parallel import World
from openlrm.representations.base import Representation
from openlrm.training.estimate import MemoryEstimate
from openlrm.training.image_loss import ImageLoss, check_frequency_loss, make_lpips
from openlrm.training.kept_features import KeptFeatures
from openlrm.training.noise import ray_noise
from openlrm.training.objects import ObjectTask
from openlrm.training.parameters import trained_parameters
from openlrm.training.schedule import perceptual_weight
from openlrm.training.task import scalar, tensor
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)


class LRMTask(ObjectTask):
    """Training of an LRM: image loss of rendered regions, total variation of the planes.

    Args:
        family: the LRM's.
        config: all options.
        world: the workers.
        model: with the weights that training starts from, see `make_model`.

    Raises:
        UserError: data that cannot be, or options that do not fit it.
    """

    parts = PARTS

    def __init__(self, family: Family, config: TrainLRMConfig, world: World, model: ModelLRM) -> None:
        super().__init__(config, world, model.config.views)
        self.model = model
        self.parameters = trained_parameters(self.model, config.train.only, config.train.freeze)
        self.frozen = not any(p.name.startswith("encoder.") for p in self.parameters)
        self.config_dict = family.config_of(model, config.data.source_image_res)
        self.region = config.data.render_region_size
        check_frequency_loss(config.train.loss, self.region, config.data.render_image_high)
        self.lpips = make_lpips(config.train.loss, self.region)
        self.settled = config.train.loss.perceptual_start + config.train.loss.perceptual_warmup
        self._reconstructor = Reconstructor(family, self.model, config.data.source_image_res)
        self._losses: dict[bool, nn.Cell] = {}
        self._kept = self._keep_features()

    def reconstruct(self, pictures: np.ndarray, cameras: Camera) -> Representation:
        """The triplane of pictures (K, H, W, 4)."""
        return self._reconstructor(pictures, cameras, name="validation view")

    def loss(self, step: int) -> nn.Cell:
        """The loss with or without LPIPS: a part without weight is not computed."""
        loss = self.config.train.loss
        with_lpips = perceptual_weight(step, loss) > 0
        if with_lpips not in self._losses:
            image_loss = ImageLoss(loss, self.lpips if with_lpips else None)
            self._losses[with_lpips] = LRMLoss(self.model, image_loss, loss.tv_weight, self.region, self.frozen)
        return self._losses[with_lpips]

    def inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """What `LRMLoss` takes, but the loss scale; a frozen encoder's features are computed here."""
        weight = perceptual_weight(step, self.config.train.loss)
        return [*self.scene_inputs(batch, step, part), tensor(batch.images), tensor(batch.masks), scalar(weight)]

    def scene_inputs(self, batch: Item, step: int, part: int) -> list[Tensor]:
        """Source, source camera, what the renderer takes of the target views, and its two draws."""
        objects, views = batch.cameras.shape
        rays = objects * views * self.region**2
        samples, world = self.model.synthesizer.samples, self.world
        draws = ray_noise(self.config.seed, step, part, rays, samples, world.rank, world.size)
        first = 0 if self.model.view_tokens is None else slice(None)
        arrays = [
            batch.source_cameras[:, first].source_record(),
            batch.cameras.render_record(),
            batch.anchors,
            batch.sizes[..., None],
            batch.backgrounds[..., None],
            *draws,
        ]
        pictures = np.ascontiguousarray(batch.source_images[:, first], np.float32)
        source = self._frozen_features(pictures) if self.frozen else tensor(pictures)
        return [source, *map(tensor, arrays)]

    def _frozen_features(self, pictures: np.ndarray) -> Tensor:
        """Features of source pictures (N, 3, S, S) or (N, K, 3, S, S) by an encoder that is not trained."""
        if self._kept is None:
            return self.model.features(tensor(pictures))
        features = self._kept(pictures.reshape(-1, *pictures.shape[-3:]))
        return tensor(features.reshape(*pictures.shape[:-3], *features.shape[1:]))

    def _keep_features(self) -> KeptFeatures | None:
        train = self.config.train
        if not train.features_mib and not train.features_dir:
            return None
        if not self.frozen:
            what = "train.features_mib and train.features_dir keep what a frozen encoder gives"
            raise UserError(what, "config", "give train.freeze=[encoder.*] or model.encoder_freeze=true, or neither")
        encoder = self.model.encoder
        folder = Path(train.features_dir).expanduser() if train.features_dir else None

        def encode(picture: np.ndarray) -> np.ndarray:
            with inference_state(encoder):
                return encoder(tensor(picture)).asnumpy()

        return KeptFeatures(encode, train.features_mib * 2**20, folder, list(encoder.get_parameters()))

    def render(self, batch: Item, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Planes (N, 3, C, H, W), colours (N, M, 3, R, R) and opacity (N, M, 1, R, R) of a batch; no gradient."""
        return self._render(batch, step, 0)

    def _render(self, batch: Item, step: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with inference_state(self.model):
            source, camera, *view = self.scene_inputs(batch, step, part)
            features = source if self.frozen else self.model.features(source)
            planes = self.model.planes_from_features(features, camera)
            shown = self.model.synthesizer(planes, *view[:4], self.region, *view[4:])
            return tuple(x.asnumpy() for x in (planes, shown["images_rgb"], shown["images_weight"]))

    def stages(self, batch: Item, step: int, part: int) -> Iterator[tuple[str, np.ndarray]]:
        """Planes and renders."""
        names = ("planes", "rendered colours", "rendered opacity")
        return zip(names, self._render(batch, step, part), strict=True)

    def memory(self, copies: float) -> MemoryEstimate:
        """Estimate the peak of a step; see `estimate_memory`."""
        cfg, train = self.config, self.config.train
        side = train.deferred_region or self.region
        rays = 0 if marches_on_host() else (cfg.data.sample_side_views + 1) * side**2
        return estimate_memory(
            self.model.config,
            sum(p.size for p in self.model.get_parameters()),
            self.parameters,
            train.batch_size,
            rays,
            copies,
            recompute=train.use_recompute,
            deferred=train.deferred_region > 0 and rays > 0,
        )

    def facts(self) -> list[str]:
        """Also that deferred back-propagation is not needed, where it is not."""
        facts = super().facts()
        if self.config.train.deferred_region and marches_on_host():
            facts.append("train.deferred_region is not needed here: rays are rendered one by one and nothing is kept")
        return facts


def make_model(config: TrainLRMConfig, resumed: bool) -> ModelLRM:
    """A model with the weights that training starts from; any when they will come from a state.

    Raises:
        UserError: a start that is not there or does not fit, or a frozen encoder without one.
    """
    saver = config.saver
    if config.model.encoder_freeze and not (saver.load_model or saver.load_encoder or resumed):
        what = "a frozen encoder would keep its random weights"
        hint = "give saver.load_encoder=FILE (published DINOv2), saver.load_model, or model.encoder_freeze=false"
        raise UserError(what, "config", hint)
    ms.set_seed(config.seed)
    sizes = {key: value for key, value in vars(config.model).items() if value is not None}
    model = ModelLRM(**sizes)
    if config.train.use_recompute:
        for layer in model.transformer.layers:
            layer.recompute()
    if resumed:
        return model
    if config.train.strong_start and not saver.load_model:
        strong_start(model, config.seed, encoder=not saver.load_encoder)
    if saver.load_model:
        _start_from(model, saver.load_model)
    if saver.load_encoder:
        load_encoder(model, saver.load_encoder)
    return model


def _start_from(model: ModelLRM, name: str) -> None:
    """Put another model's weights into ours; sizes that differ are told one by one."""
    located = locate_model(name)
    ours, theirs = _comparable(vars(model.config)), _comparable(model_keys(located.config))
    differ = [
        f"{key} {theirs.get(key)} (there) / {ours.get(key)} (here)"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    if differ:
        raise UserError(f"load_model is of other sizes: {', '.join(differ)}", located.config_file)
    expected = {key for key, _ in model.parameters_and_names()}
    tensors = from_checkpoint(read_tensors(located.weights), expected)
    if model.config.views > 1 and LRMConfig.from_dict(model_keys(located.config)).views == 1:
        # What a model of one view lacks begins as the identity.
        tensors |= {key: value for key, value in parameter_arrays(model).items() if key.startswith("view_tokens.")}
    apply_tensors(model, tensors, str(located.weights))
    logger.info("starting from %s", located.weights)


def _comparable(config: dict) -> dict:
    """Sizes that weights depend on; an encoder by what it is, not by how it is written."""
    sizes = LRMConfig.from_dict(config)
    apart = ("encoder_type", "encoder_model_name", "encoder_feat_dim", "encoder", "encoder_freeze")
    kept = {k: v for k, v in vars(sizes).items() if k not in (*apart, "rendering_samples_per_ray", "source_views")}
    return kept | {"encoder": sizes.encoder_spec}
