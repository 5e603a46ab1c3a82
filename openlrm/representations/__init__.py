"""What a family makes of pictures, a folder each: how it is rendered, meshed, written and read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlrm.representations.base import Representation


_SURFACE = "openlrm-surface"


def read_representation(path: str | os.PathLike, renderer: str = "auto") -> Representation:
    """Read what `Representation.write` wrote: Gaussians by their suffix, else a triplane.

    Args:
        path: of the file.
        renderer: see `openlrm.representations.triplane.Triplane`.

    Raises:
        UserError: missing, damaged, or no such file.
    """
    from openlrm.representations.gaussians.files import GAUSSIAN_FORMATS

    if Path(path).suffix.lower() in GAUSSIAN_FORMATS:
        from openlrm.representations.gaussians.representation import GaussianScene

        return GaussianScene.read(path)
    if _format_of(path) == _SURFACE:
        from openlrm.representations.surface import TriplaneSurface

        return TriplaneSurface.read(path)
    from openlrm.representations.triplane import Triplane

    return Triplane.read(path, renderer)


def _format_of(path: str | os.PathLike) -> str | None:
    """What a .safetensors file says that it is; None for others, which their reader refuses."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None
