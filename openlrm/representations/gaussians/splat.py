"""Gaussians as .splat: 32 bytes each, for viewers on the web."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.representations.gaussians.axes import turn_from, turn_to
from openlrm.representations.gaussians.ply import LEAST_OPACITY
from openlrm.representations.gaussians.record import Gaussians
from openlrm.utils.paths import atomic_path

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def save_splat(path: str | os.PathLike, gaussians: Gaussians, axes: str = "world") -> int:
    """Write a file whole or not at all.

    Args:
        path: of the file.
        gaussians: those below LEAST_OPACITY are left out.
        axes: see `axes`.

    Returns:
        Gaussians written.

    Raises:
        UserError: unknown axes, or a place that cannot be written.
    """
    g = turn_to(gaussians.kept(gaussians.opacities[:, 0] >= LEAST_OPACITY), axes)
    records = np.empty(len(g), _RECORD)
    records["mean"], records["scale"] = g.means, g.scales
    records["rgba"] = np.rint(np.clip(np.concatenate([g.colors, g.opacities], 1), 0, 1) * 255)
    records["rotation"] = np.clip(np.rint(g.rotations * 128 + 128), 0, 255)
    with atomic_path(path) as temporary:
        temporary.write_bytes(records.tobytes())
    return len(g)


def read_splat(path: str | os.PathLike, axes: str = "world") -> Gaussians:
    """Read what `save_splat` or another program wrote.

    Raises:
        UserError: missing, or of another size than whole records, or with numbers that are not finite.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read ({error.strerror})", path) from error
    if len(content) % _RECORD.itemsize:
        raise UserError(f"a .splat file of {len(content)} bytes, which are no whole records of 32", path, "cut off?")
    records = np.frombuffer(content, _RECORD)
    if not (np.isfinite(records["mean"]).all() and (records["scale"] >= 0).all()):
        raise UserError("a .splat file with positions or scales that cannot be", path, "another kind of file?")
    rgba = records["rgba"] / np.float32(255)
    rotations = records["rotation"].astype(np.float32) / 128 - 1
    lengths = np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-12)
    parts = records["mean"], records["scale"], rotations / lengths, rgba[:, 3:], rgba[:, :3]
    return turn_from(Gaussians(*parts), axes)
