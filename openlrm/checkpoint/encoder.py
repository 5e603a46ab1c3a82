"""A published encoder's weights, as a start of a model's own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from openlrm.checkpoint.files import read_tensors
from openlrm.checkpoint.locate import WEIGHTS_NAME
from openlrm.checkpoint.names import encoder_from_published
from openlrm.errors import UserError
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

_BLOCK = re.compile(r"blocks\.(\d+)\.")


def read_encoder(source: str | Path, depth: int) -> tuple[dict[str, np.ndarray], Path]:
    """Read a published DINOv2 or DINO checkpoint.

    A model with fewer blocks takes the first ones: features of the middle serve geometry as well as the last.

    Args:
        source: a .safetensors file, or a folder with model.safetensors, in Meta's or Hugging Face's layout.
        depth: blocks of the model's encoder.

    Returns:
        Weights by the names of `openlrm.nn.encoders.VisionTransformer`, and the file.

    Raises:
        UserError: not found.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / WEIGHTS_NAME
    if not path.is_file():
        raise UserError("encoder weights not found", str(path), "give a .safetensors file or a folder that holds one")
    tensors = encoder_from_published(read_tensors(path))
    blocks = {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
    if blocks and depth <= max(blocks):
        logger.info("the encoder takes the first %d of the %d blocks of %s", depth, len(blocks), path)
        tensors = {n: v for n, v in tensors.items() if not (match := _BLOCK.match(n)) or int(match[1]) < depth}
    return tensors, path
