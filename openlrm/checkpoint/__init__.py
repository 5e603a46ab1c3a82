"""Checkpoint files: reading, writing, finding; strict about names and shapes. No pickle, ever."""

from openlrm.checkpoint.ckpt import write_ckpt
from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.locate import LocatedModel, locate_model
from openlrm.checkpoint.pretrained import build_model, load_encoder, load_pretrained, save_pretrained
from openlrm.checkpoint.strict import apply_tensors
from openlrm.checkpoint.triplane import load_triplane, save_triplane

__all__ = [
    "LocatedModel",
    "apply_tensors",
    "build_model",
    "load_encoder",
    "load_pretrained",
    "load_triplane",
    "locate_model",
    "read_tensors",
    "save_pretrained",
    "save_triplane",
    "write_ckpt",
    "write_safetensors",
]
