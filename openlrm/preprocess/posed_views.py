"""Pictures of one object with their cameras, as models of several views take them.

They come as a folder or a file that tells its cameras (`openlrm.datasets.readers`), or as pictures without them (files,
a folder, a sheet, a video) whose cameras are known by name (`openlrm.cameras.rigs`) or by a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera
from openlrm.cameras.rigs import RIGS, Rig, spread
from openlrm.cameras.similarity import fit_object, transformed
from openlrm.config.schema import nearest
from openlrm.datasets.readers import Capture, transforms
from openlrm.datasets.readers.capture import undistorted
from openlrm.datasets.readers.table import reader_of
from openlrm.errors import UserError
from openlrm.preprocess.picture import Picture, prepare_picture
from openlrm.preprocess.view_sources import Loose, loose_pictures, name_of
from openlrm.utils.images import pad_to_square
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

FOLDER = "folder"
"""Name of the cameras that a folder or a file itself tells."""

NORMALIZE = ("none", "source", "object")
# A pixel of an opaque picture that is darker than this in a channel belongs to the object.
_WHITE = 0.98


@dataclass(frozen=True)
class PosedViews:
    """K views of one object.

    Attributes:
        names: of the views.
        pictures: K squares (S, S, 4) float32 in [0, 1] with straight alpha, or (S, S, 3) where nothing was cut out;
            sizes may differ.
        cameras: (K,), intrinsics of the squares.
    """

    names: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]
    cameras: Camera

    def __len__(self) -> int:
        """Return K."""
        return len(self.pictures)


@dataclass(frozen=True)
class ViewOptions:
    """How views are read.

    Attributes:
        cameras: `folder` (what the path itself tells), name of a rig, or a `transforms.json`; None: `folder` where
            the path tells cameras.
        indices: numbers of the views that are kept; all without them.
        count: keep so many, evenly spread or as the rig has them.
        grid: rows and columns of a sheet; the rig's without it.
        scale: factor on the cameras' distances from the origin.
        distance, elevation, fov, clockwise: of a rig, see `openlrm.cameras.rigs.Rig`.
        normalize: `none`, the same as None, trusts the poses; `source` turns the world so that the first camera kept is
            the canonical one; `object` moves and scales it so that the object fills the cube, see
            `openlrm.cameras.similarity`.
        background: how the object is cut out, see `openlrm.preprocess.prepare_picture`.
        rigs: what names mean.
    """

    cameras: str | os.PathLike | None = None
    indices: Sequence[int] = ()
    count: int | None = None
    grid: tuple[int, int] | None = None
    scale: float = 1.0
    distance: float | None = None
    elevation: float | None = None
    fov: float | None = None
    clockwise: bool = False
    normalize: str | None = None
    background: str = "keep"
    rigs: Mapping[str, Rig] = field(default_factory=lambda: RIGS)


def tells_cameras(path: object) -> bool:
    """Whether a path leads to a folder or file that tells its cameras, and not to mere pictures."""
    return isinstance(path, (str, os.PathLike)) and reader_of(Path(path).expanduser()) is not None


def read_posed_views(
    path: Picture | Sequence[Picture], options: ViewOptions | None = None, **more: object
) -> PosedViews:
    """Read pictures of one object with their cameras.

    Args:
        path: folder of an object that tells its cameras (`openlrm.datasets.readers.table.KINDS`), or `transforms.json`;
            and with named cameras a sheet, a video, a folder of pictures, or several pictures in a list.
        options: see `ViewOptions`.
        more: fields of `ViewOptions` that replace those of `options`.

    Returns:
        The views in their order; what is not square is padded with transparency, or white, and the intrinsics follow.

    Raises:
        UserError: pictures or cameras that cannot be used, or do not fit each other.
    """
    options = replace(options or ViewOptions(), **more)
    if options.normalize not in (None, *NORMALIZE):
        raise UserError(f"normalize={options.normalize} is not known", hint=f"use one of {', '.join(NORMALIZE)}")
    if not 0 < options.scale < float("inf"):
        raise UserError(f"scale={options.scale} is not positive")
    if isinstance(path, (list, tuple)) and len(path) == 1:
        path = path[0]
    reader = None
    if isinstance(path, (str, os.PathLike)):
        path = Path(path).expanduser()
        if not path.exists():
            raise UserError("no such picture, folder or file", path, "check the path")
        reader = reader_of(path)
    if options.cameras is None and reader is None:
        hint = f"name them: cameras={', '.join(options.rigs)} or a transforms.json"
        raise UserError("pictures without their cameras", name_of(path), hint)
    if options.cameras in (None, FOLDER):
        if reader is None:
            raise UserError(
                "nothing here tells the cameras", name_of(path), "such as rgba/ and pose/, or transforms.json"
            )
        loose, cameras = _from_capture(reader(path), options)
    else:
        loose, cameras = _from_loose(path, options)
    pictures, squares = [], []
    for view, camera in zip(loose, cameras, strict=True):
        pixels = _cut_out(view, options.background)
        picture, camera = squared(pixels, camera)
        pictures.append(picture)
        squares.append(camera)
    cameras = _placed(Camera.stack(squares), pictures, options)
    if len(sides := {picture.shape[0] for picture in pictures}) > 1:
        logger.warning("%s: views have sides of %s pixels", name_of(path), ", ".join(map(str, sorted(sides))))
    return PosedViews(tuple(view.name for view in loose), tuple(pictures), cameras)


def squared(pixels: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Pad a picture to a square; the intrinsics of its camera, batch shape (), follow."""
    height, width = pixels.shape[:2]
    if height == width:
        return pixels, camera
    side = max(height, width)
    padded = pad_to_square(pixels, 0.0 if pixels.shape[2] == 4 else 1.0)
    shares = np.array([width, height], np.float64) / side
    margins = np.array([(side - width) // 2, (side - height) // 2]) / side
    lens = camera.intrinsics.astype(np.float64).reshape(2, 2) * shares
    lens[1] += margins
    return padded, Camera(camera.c2w, lens.reshape(4))


def _from_capture(capture: Capture, options: ViewOptions) -> tuple[list[Loose], Camera]:
    if given := [key for key in ("distance", "elevation", "fov", "grid") if getattr(options, key) is not None]:
        hint = f"leave it out, or name the cameras: {', '.join(options.rigs)}"
        raise UserError(f"{given[0]} contradicts the cameras that are there", capture.where, hint)
    chosen = _chosen(len(capture), None, options, capture.where)
    loose = [Loose(capture.views[index].name, capture.views[index].read) for index in chosen]
    return loose, transformed(capture.cameras[chosen], np.zeros(3), options.scale)


def _from_loose(path: Picture | Sequence[Picture], options: ViewOptions) -> tuple[list[Loose], Camera]:
    """Pictures without cameras, and the cameras that were named."""
    rig = options.rigs.get(os.fspath(options.cameras))
    file = Path(options.cameras).expanduser()
    if rig is None and file.suffix.lower() != ".json":
        near = nearest(os.fspath(options.cameras), [*options.rigs, FOLDER])
        hint = f"did you mean {near}?" if near else f"use {', '.join([FOLDER, *options.rigs])} or a transforms.json"
        raise UserError(f"no cameras {os.fspath(options.cameras)!r}", hint=hint)
    frames = None if rig is not None else transforms.read_frames(file)
    wanted = len(frames) if frames is not None else len(rig.azimuths) if rig.azimuths else rig.count
    loose = loose_pictures(path, options.grid or (rig.grid if rig else None))
    if wanted is not None and len(loose) != wanted:
        what = f"{len(loose)} pictures, but {os.fspath(options.cameras)} has {wanted} cameras"
        raise UserError(what, name_of(path), "give a picture for each; a sheet needs its grid")
    chosen = _chosen(len(loose), rig, options, name_of(path))
    if rig is not None:
        return [loose[index] for index in chosen], _rig_cameras(rig, len(loose), options)[chosen]
    return _with_frames([loose[index] for index in chosen], [frames[index] for index in chosen], options)


def _rig_cameras(rig: Rig, count: int, options: ViewOptions) -> Camera:
    return rig.cameras(
        count,
        scale=options.scale,
        distance=options.distance,
        elevation=options.elevation,
        fov=options.fov,
        clockwise=options.clockwise,
    )


def _with_frames(
    loose: list[Loose], frames: list[transforms.Frame], options: ViewOptions
) -> tuple[list[Loose], Camera]:
    """Read the pictures now: a lens in pixels is nothing without their size."""
    read, lenses = [], []
    for view, frame in zip(loose, frames, strict=True):
        pixels = view.read()
        lens, distortion = frame.lens(pixels.shape[1], pixels.shape[0])
        if distortion is not None:
            pixels = undistorted(pixels, lens, distortion)
        read.append(Loose(view.name, lambda pixels=pixels: pixels))
        lenses.append(lens)
    cameras = Camera(np.stack([frame.c2w for frame in frames]), np.stack(lenses))
    return read, transformed(cameras, np.zeros(3), options.scale)


def _chosen(total: int, rig: Rig | None, options: ViewOptions, where: object) -> list[int]:
    """Numbers of the views that are kept."""
    if options.indices and options.count is not None:
        raise UserError("view and view_indices contradict each other", where, "give one of them")
    if wrong := [index for index in options.indices if not 0 <= index < total]:
        raise UserError(f"no view {wrong[0]}", where, f"there are {total}, 0 to {total - 1}")
    if options.indices:
        return list(options.indices)
    count = total if options.count is None else options.count
    if not 1 <= count <= total:
        raise UserError(f"{count} views are wanted, there are {total}", where)
    subsets = {} if rig is None else rig.subsets
    return list(subsets.get(count) or spread(count, total))


def _cut_out(view: Loose, background: str) -> np.ndarray:
    try:
        return prepare_picture(view.read(), background, recentred=False).pixels
    except UserError as error:
        raise UserError(error.what, error.where or view.name, error.hint) from error


def _placed(cameras: Camera, pictures: Sequence[np.ndarray], options: ViewOptions) -> Camera:
    """Cameras in the world that the model is given."""
    if options.normalize == "source":
        return cameras.normalized()
    if options.normalize == "object":
        if len(cameras) < 2:
            raise UserError("one view does not tell where the object is", hint="normalize=source or none")
        return fit_object(cameras, [_mask(picture) for picture in pictures])
    return cameras


def _mask(picture: np.ndarray) -> np.ndarray:
    return picture[..., 3] > 0.5 if picture.shape[2] == 4 else picture.min(axis=2) < _WHITE
