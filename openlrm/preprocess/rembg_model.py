"""Background removal by the network of the package rembg, if it and its weights are on this machine."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.images import to_uint8

_NETWORK = "u2net"


def missing_for_rembg() -> str | None:
    """Say what `remove_with_rembg` lacks here, in words for the user; None when it can work."""
    if importlib.util.find_spec("rembg") is None:
        return "the package rembg is not installed (pip install -e '.[rembg]')"
    file = _weights()
    return None if file.is_file() else f"rembg's network is not on this machine (expected {file})"


def remove_with_rembg(rgb: np.ndarray) -> np.ndarray:
    """Make the background transparent with rembg's U2-Net (Qin et al., 2020).

    Nothing is downloaded: without the weights it is an error.

    Args:
        rgb: (H, W, 3) float32 in [0, 1].

    Returns:
        (H, W, 4) float32 in [0, 1].

    Raises:
        UserError: rembg or its weights are missing, or it found no object.
    """
    missing = missing_for_rembg()
    if missing:
        raise UserError(f"no background removal by rembg: {missing}", hint="see docs/preprocessing.md")
    import rembg
    from PIL import Image

    mask = rembg.remove(Image.fromarray(to_uint8(rgb)), session=_session(_NETWORK), only_mask=True)
    alpha = np.asarray(mask.convert("L"), np.float32) / 255
    if alpha.max() < 0.5:
        raise UserError("rembg found no object in the picture", hint="cut it out by hand and give an RGBA picture")
    return np.concatenate([rgb, alpha[..., None]], axis=2)


@functools.lru_cache(maxsize=1)
def _session(network: str) -> object:
    import rembg

    return rembg.new_session(network)


def _weights() -> Path:
    """Where rembg keeps its networks."""
    home = os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME") or "~") / ".u2net"
    return Path(home).expanduser() / f"{_NETWORK}.onnx"
