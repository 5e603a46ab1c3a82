"""Published encoders as a start of an LRM's own."""

from __future__ import annotations

from pathlib import Path

from openlrm.checkpoint import apply_tensors
from openlrm.checkpoint.encoder import read_encoder
from openlrm.families.lrm.model import ModelLRM


def load_encoder(model: ModelLRM, source: str | Path) -> None:
    """Start `model`'s encoder from a published DINOv2 or DINO checkpoint.

    Args:
        model: its encoder decides which sizes are expected.
        source: see `openlrm.checkpoint.encoder.read_encoder`.

    Raises:
        UserError: not found, or another encoder's weights.
    """
    tensors, path = read_encoder(source, model.config.encoder_spec.depth)
    apply_tensors(model.encoder, {f"model.{name}": value for name, value in tensors.items()}, str(path))
