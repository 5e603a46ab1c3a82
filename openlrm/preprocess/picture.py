"""Any picture -> the object on a transparent square, and by which way."""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.preprocess.framing import BORDER_RATIO, recentre
from openlrm.preprocess.plain import remove_plain_background
from openlrm.preprocess.rembg_model import missing_for_rembg, remove_with_rembg
from openlrm.utils.images import load_pixels

BACKGROUNDS = ("auto", "keep", "plain", "rembg")

Picture = str | os.PathLike | BinaryIO | Image.Image | np.ndarray


class PreparedPicture(NamedTuple):
    """A picture after preparation.

    Attributes:
        pixels: (H, W, 4) float32 in [0, 1], or (H, W, 3) when an opaque picture was kept as it is.
        background: what was done to it: "transparent" (it came cut out), "rembg", "plain" or "keep".
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
            "rembg" by rembg's network; "auto" keeps what is transparent already, else takes rembg if it can work
            here, else "plain".
        recentred: centre the object in a square of `size` with the margin `border_ratio`; it needs transparency.
        border_ratio: see `recentre`.
        size: side in pixels when recentred.

    Raises:
        UserError: no picture, a way that is not known or cannot work, or nothing to be seen.
    """
    if background not in BACKGROUNDS:
        raise UserError(f"background={background} is not known", hint=f"use one of {', '.join(BACKGROUNDS)}")
    try:
        pixels, done = _cut_out(load_pixels(image), background)
        if pixels.shape[2] == 4 and recentred:
            pixels = recentre(pixels, border_ratio, size)
    except UserError as error:
        where = image if isinstance(image, (str, os.PathLike)) else None
        raise UserError(error.what, error.where or where, error.hint) from error
    return PreparedPicture(pixels, done)


def _cut_out(pixels: np.ndarray, background: str) -> tuple[np.ndarray, str]:
    # An alpha channel that is opaque everywhere says nothing: many programs write one.
    if pixels.shape[2] == 4 and pixels[..., 3].min() > 0.99:
        pixels = pixels[..., :3]
    if pixels.shape[2] == 4:
        return pixels, "transparent"
    if background == "auto":
        background = "plain" if missing_for_rembg() else "rembg"
    if background == "keep":
        return pixels, background
    return {"plain": remove_plain_background, "rembg": remove_with_rembg}[background](pixels), background
