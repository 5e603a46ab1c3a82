"""Files and Pillow's pictures -> arrays in sRGB, the right way up, no larger than wanted."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.picture_kinds import formats

MAX_PIXELS = 100_000_000
"""Larger pictures are refused by their header, before anything is decoded."""

logger = logging.getLogger(__name__)

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Largest difference of two conversions that agree but for rounding, of 255.
_ROUNDING = 1


def read(file: str | os.PathLike | BinaryIO, where: object, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Open a picture and return what `convert` makes of it.

    Args:
        file: a path, or an open file.
        where: what to name in an error.
        convert: such as `to_bytes`.

    Raises:
        UserError: no readable picture, more than `MAX_PIXELS` pixels, or not enough memory for it.
    """
    if isinstance(file, (str, os.PathLike)):
        file = os.path.expanduser(file)
    with explained(where), Image.open(file, formats=formats()) as image:
        return checked(image, convert)


def checked(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Convert a picture unless it has more than `MAX_PIXELS` pixels; to be called in `explained`."""
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return convert(image)


@contextlib.contextmanager
def explained(path: object) -> Iterator[None]:
    """Around opening and decoding a picture: what goes wrong is a UserError."""
    try:
        yield
    except UserError:
        raise
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
    except MemoryError as error:
        raise UserError("not enough memory for the picture", path, "shrink it first") from error
    except Exception as error:
        # A damaged file makes a decoder raise nearly anything, from struct.error to IndexError.
        raise UserError(f"the picture is damaged ({error})", path, "export it again") from error


def to_float(image: Image.Image, longest: int | None = None) -> np.ndarray:
    """Return (H, W, 3), or (H, W, 4) if the picture has transparency, float32 in [0, 1].

    Args:
        image: Pillow's picture.
        longest: pictures whose longer side is longer are shrunk to it, smoothly.
    """
    # Modes I and I;16 are 16-bit grey; Pillow's own conversion to RGB would clip them at 255.
    if not image.mode.startswith("I"):
        pixels = to_bytes(image, longest)
        return np.divide(pixels, np.float32(255), dtype=np.float32)
    image.load()
    transparent = image.info.get("transparency")
    grey = np.asarray(_upright(image, image))
    out = np.empty((*grey.shape, 3 if transparent is None else 4), np.float32)
    np.divide(grey[..., None], np.float32(65535), out=out[..., :3], dtype=np.float32)
    if (curve := _grey_curve(image.info.get("icc_profile"))) is not None:
        for row in out:
            row[:, :3] = np.interp(row[:, :1] * 255, np.arange(256), curve)
    if transparent is not None:
        out[..., 3] = grey != transparent
    return shrink(out, longest)


def to_bytes(image: Image.Image, longest: int | None = None) -> np.ndarray:
    """Return (H, W, 3), or (H, W, 4) if the picture has transparency, uint8; `longest` as in `to_float`.

    Raises:
        UserError: a picture of floats, which says nothing about what is white.
    """
    if image.mode.startswith("I"):
        return np.rint(to_float(image, longest) * 255).astype(np.uint8)
    if image.mode == "F":
        raise UserError("the picture's values are no colours (float)", hint="export it with 8 or 16 bits")
    image.load()
    mode = "RGBA" if image.has_transparency_data else "RGB"
    colours = _in_srgb(image, image if image.mode == mode else image.convert(mode))
    if longest is not None and max(colours.size) > longest:
        colours = colours.resize(_shrunk(colours.size, longest), Image.Resampling.LANCZOS)
    return np.asarray(_upright(image, colours))


def shrink(pixels: np.ndarray, longest: int | None) -> np.ndarray:
    """Shrink an array (H, W, 3) or (H, W, 4) in [0, 1] smoothly if its longer side is longer than that."""
    height, width = pixels.shape[:2]
    if longest is None or max(height, width) <= longest:
        return pixels
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return resample(pixels[..., :3], alpha, _shrunk((width, height), longest))


def resample(
    colours: np.ndarray,
    alpha: np.ndarray | None,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Resize with antialiasing (Lanczos); colours weigh by their alpha, or transparent pixels would bleed in.

    Args:
        colours: (H, W, C) float32 in [0, 1], straight.
        alpha: (H, W) float32 in [0, 1]; None for an opaque picture.
        size: width and height of the result.
        box: left, top, right, bottom of what is taken; all without it.
        window: first row and row after the last, first column and column after the last that count, with `box`; it may
            reach beyond the picture, where all is transparent, or black.

    Returns:
        (height, width, C or C + 1) float32 in [0, 1]; transparent pixels are black.
    """
    height, width, channels = colours.shape
    top, bottom, left, right = window or (0, height, 0, width)
    inner = np.s_[max(top, 0) : bottom, max(left, 0) : right]
    margins = ((max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0)))
    if box is not None:
        box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)

    def resized(plane: np.ndarray) -> Image.Image:
        plane = np.pad(plane, margins) if any(map(any, margins)) else np.ascontiguousarray(plane)
        return Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS, box=box)

    out = np.empty((size[1], size[0], channels + (alpha is not None)), np.float32)
    for channel in range(channels):
        plane = colours[..., channel][inner]
        out[..., channel] = resized(plane if alpha is None else plane * alpha[inner])
    if alpha is not None:
        out[..., -1] = resized(alpha[inner])
        out[..., :-1] = np.where(out[..., -1:] > 1e-3, out[..., :-1] / np.maximum(out[..., -1:], 1e-3), 0)
    return np.clip(out, 0, 1, out=out)


def _shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    width, height = (max(1, round(side * longest / max(size))) for side in size)
    return width, height


def _upright(source: Image.Image, image: Image.Image) -> Image.Image:
    """Turn `image` as the EXIF data of `source` say."""
    turn = _UPRIGHT.get(source.getexif().get(_ORIENTATION))
    return image if turn is None else image.transpose(turn)


def _in_srgb(source: Image.Image, colours: Image.Image) -> Image.Image:
    """Return `colours`, the RGB or RGBA of `source`, converted from the profile in the file, if there is one."""
    profile = source.info.get("icc_profile")
    space, transform = _transform(profile) if profile else ("", None)
    if transform is None or (space == "CMYK") != (source.mode == "CMYK"):
        return colours
    if space == "GRAY" and source.mode not in ("L", "LA", "1"):
        return colours
    from PIL import ImageCms

    if space == "RGB":
        stored = colours if colours.mode == "RGB" else colours.convert("RGB")
    else:
        stored = source if source.mode == space else source.convert("L")
    converted = ImageCms.applyTransform(stored, transform)
    if colours.mode == "RGBA":
        converted.putalpha(colours.getchannel("A"))
    return converted


def _grey_curve(profile: bytes | None) -> np.ndarray | None:
    """Values in [0, 1] that 0 .. 255 stand for by a grey profile; None without one."""
    space, transform = _transform(profile) if profile else ("", None)
    if transform is None or space != "GRAY":
        return None
    from PIL import ImageCms

    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return np.asarray(ImageCms.applyTransform(ramp, transform), np.float32)[0, :, 0] / 255


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, object | None]:
    """Colour space of a profile, and the transform from it to sRGB: None where there is none, or nothing to do."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
        if mode is None:
            return space, None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return space, transform
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        samples = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 16, 3)
        trial = Image.fromarray(samples if mode == "RGB" else samples[..., 0])
        shown = np.asarray(ImageCms.applyTransform(trial, transform)).astype(int)
        known = np.asarray(trial.convert("RGB")).astype(int)
        return space, None if np.abs(shown - known).max() <= _ROUNDING else transform
    except Exception as error:
        # What Little CMS does not understand, or a Pillow without it; the picture is shown as most programs show it.
        logger.warning("a colour profile cannot be used (%s): the picture is taken for sRGB", error)
        return "", None
