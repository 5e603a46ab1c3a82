"""One object's triplane with the decoder that reads it, in a file of its own."""

import re
from pathlib import Path

import numpy as np
from mindspore import Tensor

from openlrm.checkpoint.files import read_tensors, write_safetensors
from openlrm.checkpoint.strict import apply_tensors, parameter_arrays
from openlrm.errors import UserError
from openlrm.representations.triplane.synthesizer import TriplaneSynthesizer

FORMAT = "openlrm-triplane"


def save_triplane(path: str | Path, planes: Tensor, synthesizer: TriplaneSynthesizer) -> None:
    """Write planes (1, 3, C, H, W) and the decoder as .safetensors: `planes` (3, C, H, W), `decoder.*`."""
    tensors = {"planes": planes.asnumpy()[0]} | parameter_arrays(synthesizer)
    samples = 2 * synthesizer.samples
    write_safetensors(path, tensors, {"format": FORMAT, "rendering_samples_per_ray": str(samples)})


def load_triplane(path: str | Path) -> tuple[Tensor, TriplaneSynthesizer]:
    """Read what `save_triplane` wrote.

    Returns:
        planes (1, 3, C, H, W) and the renderer, in inference state.

    Raises:
        UserError: missing, damaged, or not a triplane file.
    """
    from safetensors import safe_open

    tensors = read_tensors(path)
    planes = tensors.pop("planes", None)
    hint = "give a file written by fit.triplane or by infer.lrm with export_planes=true"
    fits = planes is not None and planes.ndim == 4 and planes.shape[0] == 3 and planes.shape[2] == planes.shape[3]
    if Path(path).suffix != ".safetensors" or not fits:
        raise UserError("not a triplane file", str(path), hint)
    with safe_open(str(path), framework="np") as file:
        samples = (file.metadata() or {}).get("rendering_samples_per_ray", "")
    if not re.fullmatch("[0-9]{1,4}", samples) or int(samples) < 8 or int(samples) % 2:
        raise UserError("not a triplane file (it does not say rendering_samples_per_ray)", str(path), hint)
    synthesizer = TriplaneSynthesizer(planes.shape[1], int(samples))
    apply_tensors(synthesizer, tensors, str(path))
    synthesizer.set_train(False)
    return Tensor(np.ascontiguousarray(planes[None], np.float32)), synthesizer
