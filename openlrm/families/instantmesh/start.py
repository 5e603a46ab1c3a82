"""What training starts from: nothing, an encoder, a model of the same stage, or of the first one."""

from __future__ import annotations

from typing import Any

import mindspore as ms

from openlrm.checkpoint import apply_tensors, locate_model, parameter_arrays, read_tensors
from openlrm.checkpoint.encoder import read_encoder
from openlrm.errors import UserError
from openlrm.families.family import MODEL_TYPE
from openlrm.families.instantmesh.config import MESH, NERF, InstantMeshConfig
from openlrm.families.instantmesh.model import ModelInstantMesh
from openlrm.families.instantmesh.options import KIND_OF_STAGE, TrainInstantMeshConfig
from openlrm.families.instantmesh.weights import from_checkpoint, surface_start
from openlrm.families.reconstructor import model_keys
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# What weights do not depend on.
_FREE = ("kind", "grid_res", "grid_scale", "rendering_samples_per_ray", "encoder_freeze")
_ENCODER = ("encoder_model_name", "encoder_feat_dim", "encoder")


def make_model(config: TrainInstantMeshConfig, resumed: bool) -> ModelInstantMesh:
    """A model with the weights that training starts from; any when they will come from a state.

    Raises:
        UserError: a start that is not there or does not fit, stage 2 without one, or a frozen encoder without one.
    """
    saver = config.saver
    if config.stage == 2 and not (saver.load_model or resumed):
        raise UserError("stage=2 starts from a model of stage 1", "config", "give saver.load_model=FOLDER of its run")
    if config.model.encoder_freeze and not (saver.load_model or saver.load_encoder or resumed):
        what = "a frozen encoder would keep its random weights"
        raise UserError(what, "config", "give saver.load_encoder=FILE, saver.load_model, or model.encoder_freeze=false")
    ms.set_seed(config.seed)
    sizes = {key: value for key, value in vars(config.model).items() if value is not None}
    model = ModelInstantMesh(**sizes | {"kind": KIND_OF_STAGE[config.stage]})
    if config.train.use_recompute:
        for layer in model.transformer.layers:
            layer.recompute()
    if resumed:
        return model
    if saver.load_model:
        _start_from(model, saver.load_model, config.start_level)
    if saver.load_encoder:
        load_encoder(model, saver.load_encoder)
    return model


def load_encoder(model: ModelInstantMesh, source: str) -> None:
    """Start the encoder from a published DINO or DINOv2, its modulations as they are: at zero, so that it is the same.

    Raises:
        UserError: not found, or another encoder's weights.
    """
    vit = model.encoder.model
    tensors, path = read_encoder(source, vit.spec.depth)
    kept = {name: value for name, value in parameter_arrays(vit).items() if ".adaLN_modulation." in name}
    apply_tensors(vit, kept | tensors, str(path))
    logger.info("encoder from %s", path)


def _start_from(model: ModelInstantMesh, name: str, level: float) -> None:
    located = locate_model(name)
    if located.config.get(MODEL_TYPE) != "instantmesh":
        raise UserError("load_model is not an InstantMesh", located.config_file)
    keys = model_keys(located.config)
    ours, theirs = _comparable(vars(model.config)), _comparable(keys)
    differ = [f"{k} {theirs[k]} (there) / {ours[k]} (here)" for k in ours if ours[k] != theirs[k]]
    if differ:
        raise UserError(f"load_model is of other sizes: {', '.join(differ)}", located.config_file)
    fresh, kinds = parameter_arrays(model), (keys["kind"], model.config.kind)
    if kinds == (MESH, NERF):
        raise UserError("load_model is a mesh model, and stage=1 trains a volume", located.config_file, "give stage=2")
    expected = set(fresh)
    if kinds == (NERF, MESH):
        expected = {key for key, _ in ModelInstantMesh(**keys).parameters_and_names()}
    tensors = from_checkpoint(read_tensors(located.weights), expected)
    if kinds == (NERF, MESH):
        tensors = surface_start(tensors, fresh, level)
        logger.info("the surface begins where raw density is %g", level)
    apply_tensors(model, tensors, str(located.weights))
    logger.info("starting from %s", located.weights)


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Sizes that weights depend on; an encoder by what it is, not by how it is written."""
    sizes = InstantMeshConfig.from_dict(config)
    kept = {k: v for k, v in vars(sizes).items() if k not in (*_FREE, *_ENCODER)}
    return kept | {"encoder": sizes.encoder_spec}
