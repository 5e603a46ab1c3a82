"""One object's triplane with the heads of its surface, in a file of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore import Tensor

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.strict import apply_tensors, parameter_arrays
from openlrm.errors import UserError
from openlrm.representations.surface.synthesizer import SurfaceSynthesizer

FORMAT = "openlrm-surface"
_MOST = 1024
"""Largest grid that a file may ask for."""


def save_surface(path: str | Path, planes: Tensor, synthesizer: SurfaceSynthesizer) -> None:
    """Write planes (1, 3, C, H, W) and heads as .safetensors: `planes` (3, C, H, W), `decoder.*`."""
    tensors = {"planes": planes.asnumpy()[0]} | parameter_arrays(synthesizer)
    sizes = {"grid_res": str(synthesizer.grid_res), "grid_scale": repr(float(synthesizer.grid_scale))}
    write_safetensors(path, tensors, {"format": FORMAT} | sizes)


def load_surface(path: str | Path) -> tuple[Tensor, SurfaceSynthesizer]:
    """Read what `save_surface` wrote.

    Returns:
        planes (1, 3, C, H, W) and what makes their surface, in inference state.

    Raises:
        UserError: missing, damaged, or not such a file.
    """
    from safetensors import safe_open

    tensors = read_tensors(path)
    planes = tensors.pop("planes", None)
    fits = planes is not None and planes.ndim == 4 and planes.shape[0] == 3 and planes.shape[2] == planes.shape[3]
    try:
        with safe_open(str(path), framework="np") as file:
            sizes = file.metadata() or {}
        resolution, scale = int(sizes["grid_res"]), float(sizes["grid_scale"])
    except (KeyError, ValueError) as error:
        raise UserError(f"not the file of a surface (it does not say {error})", str(path)) from error
    if not fits or not 2 <= resolution <= _MOST or not 0 < scale < _MOST:
        raise UserError("not the file of a surface", str(path), "give one of infer.* with export_planes=true")
    synthesizer = SurfaceSynthesizer(planes.shape[1], resolution, scale)
    apply_tensors(synthesizer, tensors, str(path))
    synthesizer.set_train(False)
    return Tensor(np.ascontiguousarray(planes[None], np.float32)), synthesizer
