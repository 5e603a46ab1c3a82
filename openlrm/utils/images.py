"""Pictures in and out, and the one resize the project uses."""

from __future__ import annotations

import functools
import operator
import os
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.cubic import keys_kernel
from openlrm.utils.decoding import checked, explained, read, shrink, to_bytes, to_float
from openlrm.utils.paths import atomic_path

_ALPHA_HINT = "give an RGBA picture with the background removed"
_SAVE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95},
    ".jpeg": {"format": "JPEG", "quality": 95},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},
}


def load_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture as opaque RGB.

    Transparency is blended on white; grey, 16-bit grey, palette, CMYK and colours of an ICC profile are converted to
    sRGB; the EXIF rotation is applied; of an animation the first frame is taken.

    Args:
        path: file of a kind in `openlrm.utils.picture_kinds` (told by content, not by suffix).

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        UserError: no readable picture there, more than `MAX_PIXELS` pixels, or all of it transparent.
    """
    return blend_on_white(read(path, path, to_float), path)


def blend_on_white(pixels: np.ndarray, where: object = None) -> np.ndarray:
    """Put a picture on white.

    Args:
        pixels: (H, W, 3), returned as it is, or (H, W, 4) float32 in [0, 1].
        where: what to name in an error.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        UserError: all of it is transparent.
    """
    if pixels.shape[2] == 3:
        return pixels
    if not pixels[..., 3].any():
        raise UserError("the picture is fully transparent", where, "choose one in which the object can be seen")
    return blend(pixels, 1.0)


def blend(rgba: np.ndarray, background: float) -> np.ndarray:
    """Put a picture on a uniform background.

    Args:
        rgba: (..., H, W, 4) float32 in [0, 1], straight (not premultiplied) alpha.
        background: grey level in [0, 1].

    Returns:
        (..., H, W, 3) float32: rgb * alpha + background * (1 - alpha).
    """
    alpha = rgba[..., 3:]
    blended = rgba[..., :3] * alpha
    blended += np.float32(background) * (1 - alpha)
    return blended


def load_pixels(
    image: str | os.PathLike | BinaryIO | Image.Image | np.ndarray, longest: int | None = None
) -> np.ndarray:
    """Take a picture in whatever form it comes, with its transparency if it has any.

    Args:
        image: a file as in `load_image`, an open file, a PIL picture, or an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4), uint8 or float in [0, 1].
        longest: a picture whose longer side is longer is shrunk to it, smoothly and before anything else takes room.

    Returns:
        (H, W, 3), or (H, W, 4) where there is an alpha channel, float32 in [0, 1]; colours are not multiplied by
        alpha.

    Raises:
        UserError: no readable picture, too large, or an array that is none.
    """
    convert = partial(to_float, longest=longest)
    if isinstance(image, Image.Image):
        # Pillow decodes when it is asked for pixels: until then it may be anything.
        with explained(getattr(image, "filename", None)):
            return checked(image, convert)
    if not isinstance(image, np.ndarray):
        return read(image, getattr(image, "name", image), convert)
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise UserError(f"an array of shape {image.shape} is no picture", hint="give (H, W, 3) or (H, W, 4)")
    if pixels.dtype == np.uint8:
        pixels = pixels / np.float32(255)
    elif not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise UserError(f"the picture's values are no colours ({image.dtype})", hint="give uint8, or float in [0, 1]")
    pixels = shrink(pixels.astype(np.float32, copy=False), longest)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def load_rgba(path: str | os.PathLike) -> np.ndarray:
    """Read a picture that carries transparency.

    Args:
        path: png or webp file with an alpha channel (or transparent palette entries).

    Returns:
        (H, W, 4) float32 in [0, 1]; colours are not multiplied by alpha.

    Raises:
        UserError: no readable picture there, too large, or opaque by its kind.
    """
    pixels = read(path, path, to_float)
    if pixels.shape[2] != 4:
        raise UserError("the picture has no alpha channel", path, _ALPHA_HINT)
    return pixels


def load_rgba8(file: str | os.PathLike | BinaryIO, where: object = None) -> np.ndarray:
    """Read a picture that carries transparency as it is stored.

    Args:
        file: png or webp file as in `load_rgba`, or an open one.
        where: what to name in an error; the file without it.

    Returns:
        (H, W, 4) uint8; colours are not multiplied by alpha.

    Raises:
        UserError: as `load_rgba`.
    """
    where = file if where is None else where
    pixels = read(file, where, to_bytes)
    if pixels.shape[2] != 4:
        raise UserError("the picture has no alpha channel", where, _ALPHA_HINT)
    return pixels


def pad_to_square(image: np.ndarray, value: float = 1.0) -> np.ndarray:
    """Centre a picture in a square of its longer side.

    Args:
        image: (H, W, C); an odd pixel goes below or to the right.
        value: what the margin is filled with.

    Returns:
        (S, S, C) with S = max(H, W), of the same type.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = ((top, side - height - top), (left, side - width - left), (0, 0))
    return np.pad(image, margins, constant_values=value)


def save_image(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write a picture whole or not at all, in the format of its suffix.

    Args:
        path: ends in .png, .jpg, .jpeg or .webp.
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, or float that is clipped to [0, 1] and
            rounded to 8 bits.

    Raises:
        UserError: another suffix, transparency in a jpeg, or a place that cannot be written.
        ValueError: array of another shape or type, or not finite.
    """
    options = _SAVE_OPTIONS.get(Path(path).suffix.lower())
    if options is None:
        raise UserError("cannot tell the picture's format", path, f"end the name in {', '.join(_SAVE_OPTIONS)}")
    pixels = to_uint8(array)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not pixels.size or (pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(f"a picture has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}")
    if options["format"] == "JPEG" and pixels.ndim == 3 and pixels.shape[2] == 4:
        raise UserError("a jpeg cannot hold transparency", path, "use .png or .webp")
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, **options)


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Round values in [0, 1] to 0..255.

    Args:
        array: floats of any shape, clipped first; uint8 is returned as it is.

    Raises:
        ValueError: another type, or values that are not finite.
    """
    array = np.asarray(array)
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"pixels are uint8 or float, not {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("pixels are not finite")
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def resize_bicubic(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Resize by cubic convolution whose corner samples stay where they are.

    Keys' kernel with a = -0.75 at four neighbours, borders clamped, no antialiasing: what torch gives for
    `interpolate(mode="bicubic", align_corners=True)`. The result may overshoot; callers clip.

    Args:
        image: (..., H, W) float32.
        size: side of a square, or (height, width).

    Returns:
        (..., height, width) float32.

    Source: R. Keys, Cubic convolution interpolation for digital image processing, 1981, eq. 4 and 15.
    """
    height, width = (size, size) if np.ndim(size) == 0 else size
    rows = _cubic_matrix(image.shape[-2], operator.index(height))
    columns = _cubic_matrix(image.shape[-1], operator.index(width))
    return rows @ (np.asarray(image, np.float32) @ columns.T)


def cubic_taps(inputs: int, outputs: int, first: int = 0, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which samples `resize_bicubic` takes along an axis, and how much of each.

    Args:
        inputs: samples on the axis.
        outputs: samples on it after the resize.
        first: the first of them that is wanted.
        count: how many of them are wanted; all from `first` on without it.

    Returns:
        (count, 4) int64 indices and (count, 4) float64 weights that sum to 1: out[i] = sum_k weight[i, k] *
        in[index[i, k]].
    """
    step = (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
    position = np.arange(first, outputs if count is None else first + count) * step
    below = np.floor(position).astype(int)
    neighbours = below[:, None] + np.arange(-1, 3)
    return np.clip(neighbours, 0, inputs - 1), keys_kernel(position[:, None] - neighbours, -0.75)


@functools.lru_cache(maxsize=64)
def _cubic_matrix(inputs: int, outputs: int) -> np.ndarray:
    """Return the (outputs, inputs) weights of a resize along one axis."""
    matrix = np.zeros((outputs, inputs))
    indices, weights = cubic_taps(inputs, outputs)
    np.add.at(matrix, (np.arange(outputs)[:, None], indices), weights)
    matrix = matrix.astype(np.float32)
    matrix.flags.writeable = False
    return matrix
