"""Captures in other programs' formats -> objects in the project's layout, see `openlrm.datasets.objaverse`.

The layout has one lens for all views of an object. Every view is therefore cropped, or padded, to the square around its
principal point that a common focal length gives it: the intrinsics of a crop follow exactly, nothing is bent, and the
object fills the pictures in the view where it reaches farthest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera
from openlrm.cameras.similarity import fit_object, reach, upright
from openlrm.datasets.readers import Capture, View
from openlrm.errors import UserError
from openlrm.preprocess import prepare_picture
from openlrm.utils.decoding import resample
from openlrm.utils.images import save_image
from openlrm.utils.paths import atomic_dir

RECORD = "import.json"
_SEEN = 0.5  # alpha from which a pixel shows the object
_MARGIN = 1.06  # of the common field of view around the object
# Reach of the Lanczos kernel, in pixels of the coarser of two pictures.
_REACH = 4


@dataclass(frozen=True)
class ImportSettings:
    """How captures become objects.

    Attributes:
        size: side of the pictures in pixels.
        normalize: whether the object is moved and scaled into the cube, see `openlrm.cameras.similarity.fit_object`.
        half_side: half side of the square that it fills then, world units.
        upright: whether the world is turned so that the cameras' mean up direction is +Z.
        flip_axes: whether the poses have OpenCV's axes although the format says OpenGL's, or the other way round.
        background: how the object is cut out of pictures without masks, see `openlrm.preprocess.prepare_picture`.
    """

    size: int = 512
    normalize: bool = True
    half_side: float = 0.8
    upright: bool = False
    flip_axes: bool = False
    background: str = "keep"


def import_capture(capture: Capture, folder: Path, settings: ImportSettings, kind: str) -> None:
    """Write an object, whole or not at all.

    Args:
        capture: what was read.
        folder: of the object.
        settings: likewise.
        kind: name of the reader, for the record.

    Raises:
        UserError: pictures that cannot be read or show nothing, no masks, or cameras that cannot be normalised.
    """
    cameras = capture.cameras
    if settings.flip_axes:
        cameras = Camera.from_opencv(cameras.c2w, cameras.intrinsics)
    masks = [_read(view, settings)[..., 3] > _SEEN for view in capture.views]
    if not any(mask.any() for mask in masks):
        raise UserError("no view shows the object: all are transparent", capture.where)
    try:
        if settings.upright:
            cameras = upright(cameras)
        if settings.normalize:
            cameras = fit_object(cameras, masks, settings.half_side)
    except UserError as error:
        raise UserError(error.what, error.where or capture.where, error.hint) from error
    lenses = zip(masks, cameras.intrinsics, strict=True)
    half = _MARGIN * max(reach(mask, lens) for mask, lens in lenses if mask.any())
    side = settings.size
    with atomic_dir(folder) as temporary:
        for name in ("rgba", "pose"):
            (temporary / name).mkdir()
        focal = 0.5 / half * side
        np.save(temporary / "intrinsics.npy", np.array([[focal, focal], [side / 2, side / 2], [side, side]]))
        for index, (view, camera) in enumerate(zip(capture.views, cameras, strict=True)):
            picture = cropped(_read(view, settings), camera.intrinsics, half, side)
            save_image(temporary / "rgba" / f"{index:03d}.png", picture)
            np.save(temporary / "pose" / f"{index:03d}.npy", camera.c2w)
        record = {"kind": kind, "views": [view.name for view in capture.views], "settings": asdict(settings)}
        (temporary / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def cropped(rgba: np.ndarray, intrinsics: np.ndarray, half: float, size: int) -> np.ndarray:
    """The square around the principal point that a pinhole with a half field of view of atan(half) sees.

    Args:
        rgba: (H, W, 4) float32, straight alpha.
        intrinsics: (4,) normalised, of the picture.
        half: half side of the square at depth 1.
        size: side of the result in pixels.

    Returns:
        (size, size, 4) float32; transparent beyond the picture.
    """
    height, width = rgba.shape[:2]
    fx, fy, cx, cy = intrinsics.astype(np.float64) * [width, height, width, height]
    box = (cx - half * fx, cy - half * fy, cx + half * fx, cy + half * fy)
    across, down = ((end - start) / size for start, end in ((box[0], box[2]), (box[1], box[3])))
    margin_x, margin_y = _REACH * max(across, 1), _REACH * max(down, 1)
    window = (
        int(np.floor(box[1] - margin_y)),
        int(np.ceil(box[3] + margin_y)),
        int(np.floor(box[0] - margin_x)),
        int(np.ceil(box[2] + margin_x)),
    )
    return resample(rgba[..., :3], rgba[..., 3], (size, size), box, window)


def _read(view: View, settings: ImportSettings) -> np.ndarray:
    pixels = view.read()
    if pixels.shape[2] == 3:
        pixels = prepare_picture(pixels, settings.background, recentred=False).pixels
    if pixels.shape[2] == 3:
        hint = "give masks, or cut the object out: background=auto"
        raise UserError("nothing says what is object: the picture is opaque and has no mask", view.picture, hint)
    return pixels
