"""Gaussians into the file that its suffix asks for, and back."""

from __future__ import annotations

import os
from pathlib import Path

from openlrm.errors import UserError
from openlrm.representations.gaussians.glb import read_glb, save_glb
from openlrm.representations.gaussians.ply import read_ply, save_ply
from openlrm.representations.gaussians.record import Gaussians
from openlrm.representations.gaussians.splat import read_splat, save_splat

_WRITERS = {".ply": save_ply, ".splat": save_splat, ".glb": save_glb}
_READERS = {".ply": read_ply, ".splat": read_splat, ".glb": read_glb}
GAUSSIAN_FORMATS = tuple(_WRITERS)


def save_gaussians(path: str | os.PathLike, gaussians: Gaussians, **options) -> int:
    """Write Gaussians.

    Args:
        path: ends in .ply, .splat or .glb.
        gaussians: those of an opacity below 0.005 are left out.
        options: of `save_ply` and `save_splat`.

    Returns:
        Gaussians written.

    Raises:
        UserError: another suffix, an unknown option, or a place that cannot be written.
    """
    return _of(path, _WRITERS)(path, gaussians, **options)


def read_gaussians(path: str | os.PathLike, **options) -> Gaussians:
    """Read Gaussians.

    Args:
        path: ends in .ply, .splat or .glb.
        options: of `read_ply` and `read_splat`.

    Raises:
        UserError: another suffix, missing, damaged, or another kind of file.
    """
    return _of(path, _READERS)(path, **options)


def _of(path: str | os.PathLike, table: dict):
    suffix = Path(path).suffix.lower()
    if suffix not in table:
        raise UserError(f"Gaussians have no form {suffix!r}", path, f"end the name in {', '.join(table)}")
    return table[suffix]
