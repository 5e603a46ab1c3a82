"""Any picture -> the object on a transparent square, and by which way."""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.preprocess.framing import BORDER_RATIO, recentre
from openlrm.preprocess.isnet import missing_for_isnet, remove_with_isnet
from openlrm.preprocess.parts import came_cut_out
from openlrm.preprocess.plain import remove_plain_background
from openlrm.preprocess.rembg_model import missing_for_rembg, remove_with_rembg
from openlrm.utils.images import blend_on_white, load_pixels

BACKGROUNDS = ("auto", "keep", "plain", "rembg", "isnet")

# Longer side from which a picture is shrunk before an object is cut out and recentred, at the least.
_LONGEST = 2048

Picture = str | os.PathLike | BinaryIO | Image.Image | np.ndarray


class PreparedPicture(NamedTuple):
    """A picture after preparation.

    Attributes:
        pixels: (H, W, 4) float32 in [0, 1], or (H, W, 3) when an opaque picture was kept as it is.
        background: what was done to it: "transparent" (it came cut out), "isnet", "rembg", "plain" or "keep".
    """

    pixels: np.ndarray
    background: str


def prepare_picture(
    image: Picture,
    background: str = "auto",
    recentred: bool = True,
    border_ratio: float = BORDER_RATIO,
    size: int = 512,
) -> PreparedPicture:
    """Cut the object out and put it where the models expect it.

    Args:
        image: see `openlrm.utils.images.load_pixels`.
        background: "keep" leaves the picture as it is; "plain" cuts out by colour (`remove_plain_background`);
            "rembg" by rembg's network; "isnet" by an IS-Net; "auto" keeps what came cut out (`came_cut_out`), else
            takes isnet or rembg if one can work here, else "plain".
        recentred: centre the object in a square of `size` with the margin `border_ratio`; it needs transparency.
        border_ratio: see `recentre`.
        size: side in pixels when recentred.

    Raises:
        UserError: no picture, a way that is not known or cannot work, or nothing to be seen.
    """
    if background not in BACKGROUNDS:
        raise UserError(f"background={background} is not known", hint=f"use one of {', '.join(BACKGROUNDS)}")
    # Detail that a recentred result cannot show costs time and memory; an object may be a quarter of its picture.
    longest = max(_LONGEST, 4 * size) if recentred else None
    where = image if isinstance(image, (str, os.PathLike)) else None
    try:
        pixels, done = _cut_out(load_pixels(image, longest), background)
        if pixels.shape[2] == 4 and recentred:
            pixels = recentre(pixels, border_ratio, size)
    except UserError as error:
        raise UserError(error.what, error.where or where, error.hint) from error
    except MemoryError as error:
        raise UserError("not enough memory for the picture", where, "shrink it first") from error
    return PreparedPicture(pixels, done)


def _cut_out(pixels: np.ndarray, background: str) -> tuple[np.ndarray, str]:
    clear = None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        if not alpha.any() or came_cut_out(alpha):
            return pixels, "transparent"
        if background == "keep":
            return blend_on_white(pixels), background
        clear = alpha < 0.5 * alpha.max()
        pixels = _filled(pixels[..., :3], clear)
    if background == "auto":
        background = "isnet" if not missing_for_isnet() else "rembg" if not missing_for_rembg() else "plain"
    if background == "keep":
        return pixels, background
    ways = {"plain": remove_plain_background, "rembg": remove_with_rembg, "isnet": remove_with_isnet}
    cut = ways[background](pixels)
    if clear is not None:
        cut[..., 3] *= ~clear
    return cut, background


def _filled(rgb: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Give clear pixels the colour of the nearest one that is not: what is behind them is not in the picture."""
    if not clear.any():
        return rgb
    from scipy import ndimage

    rows, columns = ndimage.distance_transform_edt(clear, return_distances=False, return_indices=True)
    return rgb[rows, columns]
