"""Pictures in and out, and the one resize the project uses."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path
from openlrm.utils.picture_kinds import formats

MAX_PIXELS = 100_000_000
"""Larger pictures are refused by their header, before anything is decoded."""

_ALPHA_HINT = "give an RGBA picture with the background removed"
_SAVE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95},
    ".jpeg": {"format": "JPEG", "quality": 95},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},
}


def load_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture as opaque RGB.

    Transparency is blended on white; grey, 16-bit grey, palette and CMYK are converted; the EXIF rotation is
    applied; of an animation the first frame is taken.

    Args:
        path: png, jpeg or webp file (told by content, not by suffix).

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        UserError: no readable picture there, more than `MAX_PIXELS` pixels, or all of it transparent.
    """
    return blend_on_white(_read(path, path, _to_float), path)


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
    rgb, alpha = pixels[..., :3], pixels[..., 3:]
    if not alpha.any():
        raise UserError("the picture is fully transparent", where, "choose one in which the object can be seen")
    return rgb * alpha + (1 - alpha)


def load_pixels(image: str | os.PathLike | BinaryIO | Image.Image | np.ndarray) -> np.ndarray:
    """Take a picture in whatever form it comes, with its transparency if it has any.

    Args:
        image: a file as in `load_image`, an open file, a PIL picture, or an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4), uint8 or float in [0, 1].

    Returns:
        (H, W, 3), or (H, W, 4) where there is an alpha channel, float32 in [0, 1]; colours are not multiplied by
        alpha.

    Raises:
        UserError: no readable picture, too large, or an array that is none.
    """
    if isinstance(image, Image.Image):
        # Pillow decodes when it is asked for pixels: until then it may be anything.
        with _explained(getattr(image, "filename", None)):
            return _convert(image, _to_float)
    if not isinstance(image, np.ndarray):
        return _read(image, getattr(image, "name", image), _to_float)
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise UserError(f"an array of shape {image.shape} is no picture", hint="give (H, W, 3) or (H, W, 4)")
    if pixels.dtype == np.uint8:
        pixels = pixels / np.float32(255)
    elif not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise UserError(f"the picture's values are no colours ({image.dtype})", hint="give uint8, or float in [0, 1]")
    return np.repeat(pixels, 3, axis=2).astype(np.float32) if pixels.shape[2] == 1 else pixels.astype(np.float32)


def load_rgba(path: str | os.PathLike) -> np.ndarray:
    """Read a picture that carries transparency.

    Args:
        path: png or webp file with an alpha channel (or transparent palette entries).

    Returns:
        (H, W, 4) float32 in [0, 1]; colours are not multiplied by alpha.

    Raises:
        UserError: no readable picture there, too large, or opaque by its kind.
    """
    pixels = _read(path, path, _to_float)
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
    pixels = _read(file, where, _to_bytes)
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
    return np.clip(neighbours, 0, inputs - 1), _cubic_kernel(position[:, None] - neighbours)


@functools.lru_cache(maxsize=64)
def _cubic_matrix(inputs: int, outputs: int) -> np.ndarray:
    """Return the (outputs, inputs) weights of a resize along one axis."""
    matrix = np.zeros((outputs, inputs))
    indices, weights = cubic_taps(inputs, outputs)
    np.add.at(matrix, (np.arange(outputs)[:, None], indices), weights)
    matrix = matrix.astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def _cubic_kernel(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    t = np.abs(distance)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _read(file: str | os.PathLike | BinaryIO, path: object, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Return what `convert` makes of a picture; `path` is what errors name."""
    with _explained(path), Image.open(file, formats=formats()) as image:
        return _convert(image, convert)


def _convert(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return convert(image)


@contextlib.contextmanager
def _explained(path: object) -> Iterator[None]:
    """Around opening and decoding a picture: what goes wrong is a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError("no such picture", path, "check the path") from error
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot read the picture ({error.strerror})", path) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"the picture has more than {MAX_PIXELS // 10**6} million pixels", path, "shrink it first"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise UserError("not a png, jpeg or webp picture", path, "convert it to png") from error
    except MemoryError:
        raise
    except Exception as error:
        # A damaged file makes a decoder raise nearly anything, from struct.error to IndexError.
        raise UserError(f"the picture is damaged ({error})", path, "export it again") from error


def _to_float(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3), or (H, W, 4) if the picture has transparency, float32 in [0, 1]."""
    # Modes I and I;16 are 16-bit grey; Pillow's own conversion to RGB would clip them at 255.
    if image.mode.startswith("I"):
        transparent = image.info.get("transparency")
        grey = np.asarray(ImageOps.exif_transpose(image))
        channels = [grey / np.float32(65535)] * 3
        if transparent is not None:
            channels.append(grey != transparent)
        return np.stack(channels, axis=-1).astype(np.float32)
    return _to_bytes(image).astype(np.float32) / 255


def _to_bytes(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3), or (H, W, 4) if the picture has transparency, uint8."""
    if image.mode.startswith("I"):
        return to_uint8(_to_float(image))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(ImageOps.exif_transpose(image).convert(mode))
