"""Published encoders as a start of an LRM's own."""

from __future__ import annotations

from pathlib import Path

from openlrm.checkpoint import apply_tensors, read_tensors
from openlrm.checkpoint.locate import WEIGHTS_NAME
from openlrm.checkpoint.names import encoder_from_published
from openlrm.errors import UserError
from openlrm.families.lrm.model import ModelLRM


def load_encoder(model: ModelLRM, source: str | Path) -> None:
    """Start `model`'s encoder from a published DINOv2 or DINO checkpoint.

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
    tensors = {f"model.{name}": value for name, value in encoder_from_published(read_tensors(path)).items()}
    apply_tensors(model.encoder, tensors, str(path))
