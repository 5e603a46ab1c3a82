"""Checkpoint files: reading, writing, finding; strict about names and shapes. No pickle, ever."""

from openlrm.checkpoint.files import read_tensors, write_ckpt, write_safetensors
from openlrm.checkpoint.locate import LocatedModel, locate_model
from openlrm.checkpoint.pretrained import build_model, load_encoder, load_pretrained, save_pretrained
from openlrm.checkpoint.strict import apply_tensors

__all__ = [
    "LocatedModel",
    "apply_tensors",
    "build_model",
    "load_encoder",
    "load_pretrained",
    "locate_model",
    "read_tensors",
    "save_pretrained",
    "write_ckpt",
    "write_safetensors",
]
