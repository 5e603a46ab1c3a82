"""Checkpoint files: reading, writing, finding; strict about names and shapes. No pickle, ever."""

from openlrm.checkpoint.ckpt import write_ckpt
from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.locate import LocatedModel, locate_model
from openlrm.checkpoint.model import load_model, save_model
from openlrm.checkpoint.strict import apply_tensors, parameter_arrays

__all__ = [
    "LocatedModel",
    "apply_tensors",
    "load_model",
    "locate_model",
    "parameter_arrays",
    "read_tensors",
    "save_model",
    "write_ckpt",
    "write_safetensors",
]
