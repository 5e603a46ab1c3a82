"""CO3D v2: a category's `frame_annotations.jgz`, with the cameras of all its sequences, pictures and masks.

Viewpoints are PyTorch3D's: rows p_camera = p_world R + T, +X left, +Y up, +Z forward; focal length and principal point
in normalised device coordinates, +X left and +Y up, of the shorter side (`ndc_isotropic`) or of each side.
"""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.cameras import intrinsics_from_pixels, validate_pose
from openlrm.cameras.conventions import real_array
from openlrm.datasets.readers.capture import Capture, View, existing_file, picture_size
from openlrm.errors import UserError

NAME = "frame_annotations.jgz"
_MAX_BYTES = 1 << 32
_FORMATS = ("ndc_isotropic", "ndc_norm_image_bounds")


def found(folder: Path) -> bool:
    """Whether a folder is a category."""
    return (folder / NAME).is_file()


def objects(folder: Path) -> list[tuple[str, partial]]:
    """The sequences of a category: uid and what reads it.

    Raises:
        UserError: an annotation file that cannot be read.
    """
    file = folder / NAME
    sequences: dict[str, list[dict]] = {}
    for frame in _read(file):
        name = frame.get("sequence_name") if isinstance(frame, dict) else None
        if not isinstance(name, str) or not name:
            raise UserError("a frame without sequence_name", file, "is it of another version?")
        sequences.setdefault(name, []).append(frame)
    category = folder.resolve().name
    return [(f"{category}/{name}", partial(_capture, folder, name, frames)) for name, frames in sequences.items()]


def _read(file: Path) -> list:
    try:
        with file.open("rb") as stream:
            unpacked, parts, size = zlib.decompressobj(wbits=31), [], 0
            while piece := stream.read(1 << 20):
                while piece:
                    parts.append(unpacked.decompress(piece, 1 << 24))
                    size += len(parts[-1])
                    if size > _MAX_BYTES:
                        raise UserError(f"it unpacks to more than {_MAX_BYTES >> 20} MiB", file)
                    piece = unpacked.unconsumed_tail
        content = json.loads(b"".join(parts))
    except (OSError, ValueError, zlib.error, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the annotations ({error})", file) from error
    if not isinstance(content, list) or not content:
        raise UserError("the annotations are no list of frames", file)
    return content


def _capture(folder: Path, name: str, frames: list[dict]) -> Capture:
    root, file = folder.resolve().parent, folder / NAME
    views = []
    for frame in frames:
        where = f"{file} ({name}, frame {frame.get('frame_number')})"
        try:
            picture = existing_file(root, frame["image"]["path"], where)
            mask = (frame.get("mask") or {}).get("path")
            camera = frame["viewpoint"]
            pose, lens = _pose(camera, where), _lens(camera, picture, where)
        except (KeyError, TypeError, AttributeError) as error:
            what = f"not a frame of CO3D v2 ({type(error).__name__}: {error})"
            raise UserError(what, where, "expected image.path and viewpoint.R, T, focal_length") from error
        masked = None if mask is None else existing_file(root, mask, where)
        views.append(View(picture.stem, picture, pose, lens, masked))
    return Capture(name, tuple(views), file)


def _pose(camera: dict[str, Any], where: str) -> np.ndarray:
    rotation = _numbers(camera["R"], "R", (3, 3), where)
    shift = _numbers(camera["T"], "T", (3,), where)
    # R maps row vectors of the world to the camera, so its columns are the camera's axes: left, up and forward.
    c2w = np.column_stack([rotation * [-1, 1, -1], -rotation @ shift])
    return validate_pose(c2w, where)


def _lens(camera: dict[str, Any], picture: Path, where: str) -> np.ndarray:
    kind = camera.get("intrinsics_format", _FORMATS[1])
    if kind not in _FORMATS:
        raise UserError(f"intrinsics_format {kind!r} is not known", where, f"use {' or '.join(_FORMATS)}")
    size = np.array(picture_size(picture), np.float64)
    unit = np.full(2, size.min() / 2) if kind == _FORMATS[0] else size / 2
    focal = _numbers(camera["focal_length"], "focal_length", (2,), where) * unit
    center = size / 2 - _numbers(camera["principal_point"], "principal_point", (2,), where) * unit
    return intrinsics_from_pixels(np.stack([focal, center, size]), where)


def _numbers(value: Any, name: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        array = real_array(np.array(value), name, where)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} is no array of numbers", where) from error
    if array.shape != shape:
        raise UserError(f"{name} has shape {array.shape}, not {shape}", where)
    return array
