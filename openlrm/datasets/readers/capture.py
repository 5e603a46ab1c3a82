"""What a reader makes of a folder in somebody's format: pictures of one object and the cameras that took them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image

from openlrm.cameras import Camera
from openlrm.cameras.distortion import Distortion
from openlrm.datasets.storage import Place
from openlrm.errors import UserError
from openlrm.utils.decoding import explained
from openlrm.utils.images import load_pixels

_ORIENTATION, _ON_ITS_SIDE = 0x0112, range(5, 9)


@dataclass(frozen=True, eq=False)
class View:
    """One picture and its camera; the picture is read when asked for.

    Attributes:
        name: short, without suffix.
        picture: its file.
        c2w: (3, 4) float32 camera-to-world, OpenGL axes, in the world of the data.
        intrinsics: (4,) float32 normalised fx, fy, cx, cy.
        mask: file whose brightness is the object's alpha; None where there is none.
        distortion: of the lens; None for a pinhole.
    """

    name: str
    picture: Place
    c2w: np.ndarray
    intrinsics: np.ndarray
    mask: Place | None = None
    distortion: Distortion | None = None

    def read(self) -> np.ndarray:
        """Read the picture as a pinhole with these intrinsics would have taken it.

        Returns:
            (H, W, 4), or (H, W, 3) where nothing says what is object, float32 in [0, 1], straight alpha.

        Raises:
            UserError: a picture or a mask that cannot be read, or of different sizes.
        """
        pixels = load_pixels(self.picture)
        if self.mask is not None:
            alpha = load_pixels(self.mask)[..., :3].mean(axis=2, keepdims=True)
            if alpha.shape[:2] != pixels.shape[:2]:
                what = f"the mask is {alpha.shape[1]} x {alpha.shape[0]}, its picture {_size(pixels)}"
                raise UserError(what, self.mask, "masks have the size of their pictures")
            pixels = np.concatenate([pixels[..., :3], alpha], axis=2)
        return pixels if self.distortion is None else undistorted(pixels, self.intrinsics, self.distortion)


@dataclass(frozen=True, eq=False)
class Capture:
    """Views of one object as a reader found them.

    Attributes:
        name: of the object.
        views: at least one.
        where: the file or folder that tells the cameras.
    """

    name: str
    views: tuple[View, ...]
    where: Place

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.views)

    @property
    def cameras(self) -> Camera:
        """(V,) cameras of the views."""
        return Camera(np.stack([view.c2w for view in self.views]), np.stack([view.intrinsics for view in self.views]))


def undistorted(pixels: np.ndarray, intrinsics: np.ndarray, distortion: Distortion) -> np.ndarray:
    """Take the lens's distortion out of a picture.

    Args:
        pixels: (H, W, 3) or (H, W, 4) float32, straight alpha.
        intrinsics: (4,) normalised, the same before and after.
        distortion: of the lens.

    Returns:
        (H, W, 4) float32: bilinear, transparent where the lens saw nothing.
    """
    from scipy import ndimage

    height, width = pixels.shape[:2]
    fx, fy, cx, cy = intrinsics.astype(np.float64) * [width, height, width, height]
    y, x = np.mgrid[:height, :width]
    x, y = distortion.distort((x + 0.5 - cx) / fx, (y + 0.5 - cy) / fy)
    at = np.stack([y * fy + cy - 0.5, x * fx + cx - 0.5])
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else np.ones((height, width), np.float32)
    # Colours weigh by their alpha, or what is transparent would bleed in.
    layers = [*np.moveaxis(pixels[..., :3] * alpha[..., None], -1, 0), alpha]
    moved = np.stack([ndimage.map_coordinates(layer, at, order=1, mode="constant") for layer in layers], axis=-1)
    weight = moved[..., 3:]
    np.divide(moved[..., :3], weight, out=moved[..., :3], where=weight > 0)
    return np.clip(moved, 0, 1).astype(np.float32)


def picture_size(path: Place) -> tuple[int, int]:
    """Width and height of a picture the right way up, from its header.

    Raises:
        UserError: no readable picture.
    """
    with explained(path), Image.open(path) as image:
        size = image.size
        return size[::-1] if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else size


def check_inside(name: str, where: object) -> str:
    """Return a file name from a camera file, slashes as here, if it stays inside the data's folder.

    Raises:
        UserError: an absolute name, or one with `..` in it, as any system reads it.
    """
    posix = name.replace("\\", "/")
    parts = PurePosixPath(posix).parts
    if not parts or "\0" in name or ".." in parts or PurePosixPath(posix).anchor or PureWindowsPath(name).anchor:
        hint = "pictures lie in the folder of the camera file, or below it"
        raise UserError(f"the picture's name {name!r} leads out of the folder", where, hint)
    return posix


def existing_file(folder: Path, name: str, where: object, suffixes: Sequence[str] = ("",)) -> Path:
    """Return the file of a name below a folder, one of some suffixes put behind it if need be.

    Raises:
        UserError: a name that leads out of the folder, or no such file.
    """
    inside = check_inside(name, where)
    for suffix in suffixes:
        if (path := folder / f"{inside}{suffix}").is_file():
            return path
    raise UserError(f"no picture {name!r}", where, f"looked in {folder}")


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
