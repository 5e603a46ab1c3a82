"""Background removal by an IS-Net (Qin et al., 2022), an ONNX file that lies on this machine."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.images import to_uint8

PLACE = "OPENLRM_ISNET"
"""Environment variable that names the file."""

# Side in pixels of the network's input, whose values are (byte - 128) / 256.
_SIDE = 1024


def isnet_file() -> Path:
    """Where the network is looked for: what the variable `PLACE` names, or openlrm/isnet.onnx in the user's data."""
    if named := os.environ.get(PLACE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "openlrm" / "isnet.onnx"


def missing_for_isnet() -> str | None:
    """Say what `remove_with_isnet` lacks here, in words for the user; None when it can work."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "the package onnxruntime is not installed (pip install -e '.[cutout]')"
    file = isnet_file()
    if not file.is_file():
        return f"there is no network at {file} ('openlrm fetch cutout' gets it; {PLACE}=FILE names another place)"
    return None


def remove_with_isnet(rgb: np.ndarray) -> np.ndarray:
    """Make the background transparent. Nothing is downloaded: without the file it is an error.

    Args:
        rgb: (H, W, 3) float32 in [0, 1].

    Returns:
        (H, W, 4) float32 in [0, 1].

    Raises:
        UserError: onnxruntime or the file is missing, it is no such network, or it found no object.
    """
    missing = missing_for_isnet()
    if missing:
        raise UserError(f"no background removal by IS-Net: {missing}", hint="see docs/preprocessing.md")
    file = isnet_file()
    height, width = rgb.shape[:2]
    small = Image.fromarray(to_uint8(rgb)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    values = ((np.asarray(small, np.float32) - 128) / 256).transpose(2, 0, 1)[None]
    try:
        session = _session(file, file.stat().st_mtime_ns)
        first = session.get_outputs()[0].name
        (found,) = session.run([first], {session.get_inputs()[0].name: values})
        alpha = found.reshape(_SIDE, _SIDE)
    except Exception as error:  # onnxruntime has no class of its own for what a file can be
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"not an IS-Net of 1024 x 1024 pixels ({reason})", file, "openlrm fetch cutout") from error
    mask = Image.fromarray(np.clip(alpha, 0, 1), mode="F").resize((width, height), Image.Resampling.BILINEAR)
    alpha = np.asarray(mask, np.float32)
    if alpha.max() < 0.5:
        raise UserError("IS-Net found no object in the picture", hint="cut it out by hand and give an RGBA picture")
    return np.concatenate([rgb, alpha[..., None]], axis=2)


@functools.lru_cache(maxsize=1)
def _session(file: Path, _: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
