"""Gaussians as .ply: what splat viewers read, and the values as they are, which the published GeoLRM writes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from openlrm.errors import UserError
from openlrm.representations.gaussians.axes import turn_from, turn_to
from openlrm.representations.gaussians.record import Gaussians
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path

BAND_0 = 0.28209479177387814
"""Spherical harmonic of degree 0: colour = 0.5 + BAND_0 f_dc."""
LEAST_OPACITY = 0.005
"""Gaussians below are left out of files."""
LAYOUTS = ("compact", "full")

_log = get_logger(__name__)

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_COLOR = ("f_dc_0", "f_dc_1", "f_dc_2")
_REST = tuple(f"f_rest_{i}" for i in range(45))
_SHAPE = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
_NEEDED = (*_POSITION, *_COLOR, *_SHAPE)
_LEAST_ODDS, _LEAST_SCALE = 1e-6, 1e-8
_MOST_HEADER = 65536
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


def save_ply(
    path: str | os.PathLike, gaussians: Gaussians, raw: bool = False, axes: str = "world", layout: str = "compact"
) -> int:
    """Write a file whole or not at all.

    Args:
        path: of the file.
        gaussians: those below LEAST_OPACITY are left out.
        raw: write values as they are (colour, opacity, scale) instead of what viewers read (f_dc, logit, logarithm).
        axes: "world" (z up) or "y_down", which most viewers' cameras expect; see `axes`.
        layout: "compact", or "full" with normals and higher harmonics of 0, for readers of fixed records.

    Returns:
        Gaussians written.

    Raises:
        UserError: an unknown option, or a place that cannot be written.
    """
    if layout not in LAYOUTS:
        raise UserError(f"ply_layout={layout} is not known", hint=f"use one of {', '.join(LAYOUTS)}")
    g = turn_to(gaussians.kept(gaussians.opacities[:, 0] >= LEAST_OPACITY), axes)
    colors, opacities, scales = g.colors, g.opacities, g.scales
    if not raw:
        odds = np.clip(opacities.astype(np.float64), _LEAST_ODDS, 1 - _LEAST_ODDS)
        colors, opacities = (colors - 0.5) / BAND_0, np.log(odds / (1 - odds))
        scales = np.log(np.maximum(scales.astype(np.float64), _LEAST_SCALE))
    more = layout == "full"
    nothing = [np.zeros((len(g), len(names)), np.float32) for names in (_NORMAL, _REST)]
    parts = [g.means, *nothing[:more], colors, *nothing[1 : 1 + more], opacities, scales, g.rotations]
    names = (*_POSITION, *(_NORMAL * more), *_COLOR, *(_REST * more), *_SHAPE)
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(g)}"]
    header = "\n".join([*lines, *(f"property float {name}" for name in names), "end_header\n"])
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode() + np.concatenate(parts, axis=1).astype("<f4").tobytes())
    return len(g)


def read_ply(path: str | os.PathLike, axes: str = "world") -> Gaussians:
    """Read a file of either kind: opacities all in [0, 1] and scales all at least 0 mean values as they are.

    Colours that change with the direction (f_rest) are left out, with a line in the log.

    Args:
        path: of the file.
        axes: those it was written in.

    Raises:
        UserError: missing, damaged, or no file of Gaussians.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read ({error.strerror})", path) from error
    vertices = _vertices(content, path)
    missing = [name for name in _NEEDED if name not in (vertices.dtype.names or ())]
    if missing:
        raise UserError(f"not a file of Gaussians: property {missing[0]} is missing", path, "a mesh or point cloud?")

    def columns(names: tuple[str, ...]) -> np.ndarray:
        return np.stack([vertices[name] for name in names], -1).astype(np.float64)

    means, colors, shape = columns(_POSITION), columns(_COLOR), columns(_SHAPE)
    opacities, scales, rotations = shape[:, :1], shape[:, 1:4], shape[:, 4:]
    for name, array in zip(("x y z", "f_dc", "opacity, scale and rot"), (means, colors, shape), strict=True):
        if not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise UserError(f"{name} of Gaussian {bad} are not finite", path, "find the step that made them")
    if not ((opacities >= 0) & (opacities <= 1)).all() or not (scales >= 0).all():
        with np.errstate(over="ignore"):
            opacities, scales, colors = 1 / (1 + np.exp(-opacities)), np.exp(scales), 0.5 + BAND_0 * colors
    rest = [name for name in vertices.dtype.names if name.startswith("f_rest_")]
    if any(vertices[name].any() for name in rest):
        _log.warning("%s: colours that change with the direction are left out", path)
    lengths = np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-12)
    return turn_from(Gaussians(means, scales, rotations / lengths, opacities, np.clip(colors, 0, 1)), axes)


def _vertices(content: bytes, path: str | os.PathLike) -> np.ndarray:
    """The element `vertex` as a structured array."""
    end = re.search(rb"\nend_header\r?\n", content[:_MOST_HEADER])
    if not content.startswith(b"ply") or not end:
        raise UserError("not a .ply file, or one without an end of its header", path)
    lines = content[: end.start()].decode("ascii", "replace").split("\n")
    words = [line.split() for line in lines[1:] if line.split()[:1] not in ([], ["comment"], ["obj_info"])]
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(words[0][1] if len(words[0]) > 1 else "")
    if words[0][0] != "format" or order is None:
        raise UserError(f"a .ply file that is not binary ({' '.join(words[0])})", path, "save it as binary")
    if len(words) < 2 or words[1][:2] != ["element", "vertex"] or not words[1][-1].isdecimal():
        raise UserError("a .ply file that does not begin with its vertices", path)
    fields = []
    for word in words[2:]:
        if word[0] == "element":
            break
        if len(word) != 3 or word[0] != "property" or word[1] not in _TYPES or word[2] in dict(fields):
            raise UserError(f"a vertex of a .ply file with the line {' '.join(word)[:60]!r}", path)
        fields.append((word[2], order + _TYPES[word[1]]))
    record, count = np.dtype(fields), int(words[1][-1])
    if not fields or len(content) - end.end() < count * record.itemsize:
        raise UserError(f"a .ply file that is cut off: {count} vertices do not fit into it", path)
    return np.frombuffer(content, record, count, end.end())
