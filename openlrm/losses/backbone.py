"""The VGG16 convolutions behind LPIPS: found in a file or on the hub, and checked."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.file_kind import refuse_other_kinds
from openlrm.utils.hub import telling

DEFAULT_BACKBONE = "timm/vgg16.tv_in1k"
"""Hub id of the ImageNet weights LPIPS was made with (torchvision's, IMAGENET1K_V1)."""

VGG16_LAYERS = {
    0: (64, 3),
    2: (64, 64),
    5: (128, 64),
    7: (128, 128),
    10: (256, 128),
    12: (256, 256),
    14: (256, 256),
    17: (512, 256),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
"""Number of a convolution among VGG16's feature layers -> (outputs, inputs)."""

_FILE = "model.safetensors"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HINT = (
    f"fetch it with 'hf download {DEFAULT_BACKBONE} {_FILE} --local-dir <folder>' and give <folder>/{_FILE}, or do "
    "without LPIPS: train.loss.perceptual_weight=0 in training, lpips_backbone=none in evaluation"
)


def read_backbone(source: str | Path = DEFAULT_BACKBONE) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Read the 13 convolutions.

    Args:
        source: a .safetensors file with `features.N.weight` and `features.N.bias` as timm and torchvision name
            them (the classifier may be in it and is not read), a folder with model.safetensors, or a hub id,
            which is looked for in the local hub cache first.

    Returns:
        Keys as in `VGG16_LAYERS` -> weight (D, C, 3, 3) and bias (D,), float32.

    Raises:
        UserError: not found, not reachable, unreadable, or another network.
    """
    path = _locate(source)
    if path.suffix != ".safetensors":
        raise UserError("the VGG16 weights are not a .safetensors file", path, _HINT)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {
                layer: (_read(file, layer, "weight", (*shape, 3, 3), path), _read(file, layer, "bias", shape[:1], path))
                for layer, shape in VGG16_LAYERS.items()
            }
    except (SafetensorError, OSError, TypeError) as error:
        refuse_other_kinds(path, "VGG16 weights")
        raise UserError(f"unreadable VGG16 weights ({error})", path, _HINT) from error


def _read(file, layer: int, kind: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    name = f"features.{layer}.{kind}"
    if name not in file.keys():  # noqa: SIM118 - no mapping
        raise UserError(f"no {name} among the weights: not a VGG16", path, _HINT)
    value = file.get_tensor(name)
    if value.shape != shape:
        raise UserError(f"{name} is {value.shape}, expected {shape}: not a VGG16", path, _HINT)
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
        raise UserError(f"{name} holds NaN or infinity", path, _HINT)
    return value


def _locate(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / _FILE
    if path.is_file():
        return path
    if _HUB_ID.fullmatch(str(source)) and path.suffix != ".safetensors":
        return _fetch(str(source))
    raise UserError("no VGG16 weights (the backbone of LPIPS)", path, _HINT)


def _fetch(repo_id: str) -> Path:
    from huggingface_hub import hf_hub_download

    with telling("the VGG16 weights (the backbone of LPIPS) cannot be had from the hub", repo_id, _HINT):
        return Path(hf_hub_download(repo_id, _FILE))
