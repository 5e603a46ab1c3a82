"""Published encoders as a start of an LRM's own."""

from __future__ import annotations

import re
from pathlib import Path

from openlrm.checkpoint import apply_tensors, read_tensors
from openlrm.checkpoint.locate import WEIGHTS_NAME
from openlrm.errors import UserError
from openlrm.families.lrm.model import ModelLRM
from openlrm.families.lrm.weights import encoder_from_published
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

_BLOCK = re.compile(r"blocks\.(\d+)\.")


def load_encoder(model: ModelLRM, source: str | Path) -> None:
    """Start `model`'s encoder from a published DINOv2 or DINO checkpoint.

    A model with fewer blocks takes the first ones: features of the middle serve geometry as well as the last.

    Args:
        model: its encoder decides which sizes are expected.
        source: a .safetensors file, or a folder with model.safetensors, in Meta's or Hugging Face's layout.

    Raises:
        UserError: not found, or another encoder's weights.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / WEIGHTS_NAME
    if not path.is_file():
        raise UserError("encoder weights not found", str(path), "give a .safetensors file or a folder that holds one")
    tensors = encoder_from_published(read_tensors(path))
    blocks = {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
    depth = model.config.encoder_spec.depth
    if blocks and depth <= max(blocks):
        logger.info("the encoder takes the first %d of the %d blocks of %s", depth, len(blocks), path)
        tensors = {n: v for n, v in tensors.items() if not (match := _BLOCK.match(n)) or int(match[1]) < depth}
    apply_tensors(model.encoder, {f"model.{name}": value for name, value in tensors.items()}, str(path))
