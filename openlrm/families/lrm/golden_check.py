"""The miniature model, stage by stage, against what the published implementation computes with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.families.lrm.model import ModelLRM
from openlrm.losses import pixel_loss, total_variation
from openlrm.ops.state import training_state

# Relative to an array's largest value. Other kernels sum in another order; the renderer's clamps and bins amplify
# that in the gradients.
VALUE_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3

_REGION = 12
_RENDER_INPUTS = (
    "render_cameras",
    "render_anchors",
    "render_resolutions",
    "render_bg_colors",
    "stratified_noise",
    "importance_u",
)

_RESTORE = "install the program again, or git checkout -- openlrm/families/lrm/golden"

FOLDER = Path(__file__).parent / "golden"
"""Golden arrays and the miniature model they were made with, as this project ships them."""

Computed = dict[str, np.ndarray]


class GoldenCase:
    """The golden arrays and the model they belong to, read when first asked for.

    Args:
        folder: with golden.npz, config.json and model.safetensors.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def arrays(self) -> Computed:
        """Arrays of golden.npz; UserError when it is missing or damaged."""
        path = self.folder / "golden.npz"
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            raise UserError(f"missing or damaged golden file ({error})", path, _RESTORE) from error

    @cached_property
    def model(self) -> ModelLRM:
        """The miniature model in inference state; UserError when its files are missing or damaged."""
        try:
            return ModelLRM.from_pretrained(str(self.folder))
        except UserError as error:
            raise UserError(error.what, error.where, _RESTORE) from error

    @cached_property
    def training_pass(self) -> tuple[Computed, Computed]:
        """Losses, and the gradient of every parameter."""
        cell = GoldenLoss(self.model)
        names, weights = zip(*self.model.parameters_and_names(), strict=True)
        keys = ("image", "source_camera", *_RENDER_INPUTS, "target")
        with training_state(cell):
            values, gradients = ms.value_and_grad(cell, None, ms.ParameterTuple(weights), has_aux=True)(
                *(self.tensor(key) for key in keys)
            )
        losses = dict(zip(("loss", "loss_pixel", "loss_tv"), _numpy(*values), strict=True))
        return losses, {f"grad/{name}": value for name, value in zip(names, _numpy(*gradients), strict=True)}

    def tensor(self, key: str) -> Tensor:
        """A golden array as input of a stage."""
        return Tensor(self.arrays[key])


class GoldenLoss(nn.Cell):
    """MSE + 5e-4 TV of the whole model on regions, as the golden losses were made."""

    def __init__(self, model: ModelLRM, region: int = _REGION):
        super().__init__()
        self.model, self.region = model, region

    def construct(self, image, camera, cameras, anchors, resolutions, backgrounds, noise, u, target):
        """Loss, and its two parts."""
        out = self.model(image, camera, cameras, anchors, resolutions, backgrounds, self.region, noise, u)
        pixel, tv = pixel_loss(out["images_rgb"], target), total_variation(out["planes"])
        return pixel + 5e-4 * tv, pixel, tv


def _encoder(case: GoldenCase) -> Computed:
    encoder = case.model.encoder
    return {f"encoder_features{size}": encoder(case.tensor(f"image{size}")).asnumpy() for size in ("", "_70")}


def _camera(case: GoldenCase) -> Computed:
    return {"camera_embedding": case.model.camera_embedder(case.tensor("source_camera")).asnumpy()}


def _first_layer(case: GoldenCase) -> Computed:
    features, camera = case.tensor("encoder_features"), case.tensor("camera_embedding")
    start = ms.ops.tile(case.model.pos_embed, (features.shape[0], 1, 1))
    return {"layer0_output": case.model.transformer.layers[0](start, features, camera).asnumpy()}


def _planes(case: GoldenCase) -> Computed:
    return {"planes": case.model.forward_planes(case.tensor("image"), case.tensor("source_camera")).asnumpy()}


def _points(case: GoldenCase) -> Computed:
    out = case.model.synthesizer.forward_points(case.tensor("planes"), case.tensor("points"))
    return {f"points_{key}": value.asnumpy() for key, value in out.items()}


def _grid(case: GoldenCase) -> Computed:
    out = case.model.synthesizer.forward_grid(case.tensor("planes"), case.arrays["grid_sigma"].shape[1])
    return {f"grid_{key}": value.asnumpy() for key, value in out.items()}


def _renderer(case: GoldenCase) -> Computed:
    cameras, anchors, resolutions, backgrounds, noise, u = (case.tensor(key) for key in _RENDER_INPUTS)
    synthesizer = case.model.synthesizer
    out = synthesizer(case.tensor("planes"), cameras, anchors, resolutions, backgrounds, _REGION, noise, u)
    return {key: out[key].asnumpy() for key in ("images_rgb", "images_depth", "images_weight")}


STAGES: dict[str, Callable[[GoldenCase], Computed]] = {
    "encoder": _encoder,
    "camera embedding": _camera,
    "first layer": _first_layer,
    "planes": _planes,
    "field points": _points,
    "grid": _grid,
    "renderer": _renderer,
    "loss": lambda case: case.training_pass[0],
    "gradients": lambda case: case.training_pass[1],
}
"""Stage -> what it computes from golden inputs, by the name of the array it must equal; in the model's order."""


def check_stage(case: GoldenCase, stage: str) -> tuple[str, float, float]:
    """Compare a stage's results with the golden ones.

    Returns:
        Name of the array that differs most, its largest difference relative to its largest value, and what is allowed.
    """
    differences = {
        key: relative_difference(computed, case.arrays[key]) for key, computed in STAGES[stage](case).items()
    }
    worst = max(differences, key=differences.get)
    return worst, differences[worst], GRADIENT_TOLERANCE if stage == "gradients" else VALUE_TOLERANCE


def golden_curve(case: GoldenCase, steps: int) -> np.ndarray:
    """Losses of so many steps of AdamW at a rate of 4e-4 on the golden batch; the case's model is trained."""
    from openlrm.training.optim import AdamW, variable

    model, cell = case.model, GoldenLoss(case.model)
    weights = ms.ParameterTuple(model.get_parameters())
    optimizer = AdamW(weights, (0.9, 0.95), 1e-8, 0.05)
    inputs = [case.tensor(key) for key in ("image", "source_camera", *_RENDER_INPUTS, "target")]
    losses = []
    with training_state(cell):
        gradient = ms.value_and_grad(cell, None, weights, has_aux=True)
        for step in range(steps):
            (loss, _, _), gradients = gradient(*inputs)
            losses.append(float(loss.asnumpy()))
            optimizer.step(variable(gradients), 4e-4, step)
    return np.array(losses)


def relative_difference(computed: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference as a part of the largest expected value; infinite for another shape or a NaN."""
    if computed.shape != expected.shape or not np.isfinite(computed).all():
        return np.inf
    return float(np.abs(computed - expected).max() / max(np.abs(expected).max(), 1e-12))


def _numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.asnumpy() for tensor in tensors)
