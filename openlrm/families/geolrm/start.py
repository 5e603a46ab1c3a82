"""The model that a stage of training starts from."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Tensor

from openlrm.checkpoint import apply_tensors, locate_model, read_tensors
from openlrm.errors import UserError
from openlrm.families.geolrm.config import PROPOSAL_ALONE, WHOLE
from openlrm.families.geolrm.model import GeoLRM
from openlrm.families.geolrm.options import PROPOSAL, TrainGeoLRMConfig
from openlrm.families.geolrm.weights import NETWORKS, from_checkpoint
from openlrm.representations.gaussians.activation import RAW
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

_OPACITY, _W = 3, 7  # places among a Gaussian's numbers
_FIRST_OPACITY = -1.0


def make_model(config: TrainGeoLRMConfig, resumed: bool) -> GeoLRM:
    """A model of the networks that a stage needs; any weights when they will come from a state.

    Raises:
        UserError: a start that is not there or does not fit, or a second stage without a first.
    """
    train, saver = config.train, config.saver
    alone = train.stage == PROPOSAL
    if not (alone or resumed or train.proposal or saver.load_model or train.true_cells):
        hint = "give train.proposal=MODEL of that stage, saver.load_model, or train.true_cells=true"
        raise UserError("the reconstruction stage has no proposal network to take its cells from", "config", hint)
    ms.set_seed(config.seed)
    model = GeoLRM(**dataclasses.asdict(config.model) | {"networks": PROPOSAL_ALONE if alone else WHOLE})
    trained = model.serializer if alone else model.lrm_generator
    if train.use_recompute:
        for layer in [*trained.encoder.model.encoder.layer, *trained.transformer.layers]:
            layer.recompute()
    if resumed:
        return model
    if not alone and train.fresh_head:
        start_head(model)
    if saver.load_model:
        load_weights(model, saver.load_model, NETWORKS)
    if saver.load_encoder:
        _load_encoder(trained.encoder.model, saver.load_encoder)
    if not alone and train.proposal:
        load_weights(model, train.proposal, NETWORKS[:1])
    return model


def start_head(model: GeoLRM) -> None:
    """First biases of the head: opacities below one half, and rotations that turn nothing."""
    bias = model.lrm_generator.renderer.latent_decoder[2].bias
    start = bias.asnumpy().reshape(-1, RAW).copy()
    start[:, _OPACITY], start[:, _W] = _FIRST_OPACITY, 1.0
    bias.set_data(Tensor(start.reshape(-1)))


def load_weights(model: GeoLRM, name: str, networks: tuple[str, ...]) -> None:
    """Put another model's weights into some of the networks.

    Args:
        model: whose parameters are overwritten.
        name: of the other model, see `openlrm.checkpoint.locate_model`.
        networks: beginnings of the parameters' names; each of these parameters must be there.

    Raises:
        UserError: not found, or weights that do not fit.
    """
    located = locate_model(name)
    names = {key for key, _ in model.parameters_and_names() if key.startswith(networks)}
    tensors = from_checkpoint(read_tensors(located.weights), names)
    others = {key: p.asnumpy() for key, p in model.parameters_and_names() if key not in names}
    taken = {key: value for key, value in tensors.items() if key.startswith(networks)}
    apply_tensors(model, others | taken, str(located.weights))
    logger.info("%s: starting from %s", " and ".join(n.rstrip(".") for n in networks), located.weights)


def _load_encoder(encoder, name: str) -> None:
    """Start DINOv2 from its published weights in Hugging Face's names."""
    tensors = {key.removeprefix("dinov2."): value for key, value in read_tensors(name).items()}
    apply_tensors(encoder, {key: np.asarray(value) for key, value in tensors.items()}, name)
