"""A picture of objects as their cameras see them, with the axes of the world: conventions checked by eye."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from openlrm.cameras import project
from openlrm.datasets.objaverse import ObjaverseObject, read_object
from openlrm.datasets.storage import Place
from openlrm.errors import UserError
from openlrm.utils.images import blend, save_image

LEGEND = "world axes from the origin: X red, Y green, Z blue; grey: the cube [-1, 1]^3. They must stick to the object."
_AXES = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
_SIDE, _GAP, _LINE = 192, 4, 16
_GREY = 0.85
_PIECES = 24  # a line that passes the camera is drawn as far as it is in front


def draw_sheet(path: str | os.PathLike, root: str | Place, uids: Sequence[str], views: int = 6) -> None:
    """Draw objects row by row, some views of each, with the axes where the stored poses see them.

    Args:
        path: picture to write.
        root: folder of objects, or its address.
        uids: the objects; what cannot be read is drawn as an empty field that says so.
        views: views of each, evenly spread.
    """
    row = _SIDE + _LINE + _GAP
    sheet = Image.new("RGB", (views * (_SIDE + _GAP) + _GAP, len(uids) * row + _LINE + 2 * _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), LEGEND, fill="black")
    for index, uid in enumerate(uids):
        top = _LINE + 2 * _GAP + index * row
        pen.text((_GAP, top), uid, fill="black")
        for column, field in enumerate(_fields(root, uid, views)):
            sheet.paste(field, (_GAP + column * (_SIDE + _GAP), top + _LINE))
    save_image(path, np.asarray(sheet))


def _fields(root: str | Place, uid: str, views: int) -> list[Image.Image]:
    try:
        source = read_object(root, uid)
    except UserError as error:
        return [_message(error.what)]
    chosen = np.unique(np.arange(views) * len(source) // views)
    return [_field(source, int(view)) for view in chosen]


def _field(source: ObjaverseObject, view: int) -> Image.Image:
    try:
        rgba, pose = source.read_view(view)
    except UserError as error:
        return _message(f"{source.names[view]}: {error.what}")
    image = Image.fromarray(np.rint(blend(rgba, _GREY) * 255).astype(np.uint8)).resize((_SIDE, _SIDE))
    pen = ImageDraw.Draw(image)
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    for a in range(8):
        for b in range(a):
            if np.abs(corners[a] - corners[b]).sum() == 2:
                _line(pen, corners[a], corners[b], pose, source.intrinsics, "grey", 1)
    for colour, axis in _AXES.items():
        _line(pen, np.zeros(3), np.array(axis), pose, source.intrinsics, colour, 3)
    origin = project(np.zeros((1, 3)), pose, source.intrinsics)[0]
    note = source.names[view] + (": origin is behind the camera" if np.isnan(origin).any() else "")
    pen.text((3, 2), note, fill="black")
    return image


def _line(
    pen: ImageDraw.ImageDraw, start: np.ndarray, end: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, *style
) -> None:
    share = np.linspace(0, 1, _PIECES + 1)[:, None]
    uv = project(start + share * (end - start), pose, intrinsics)[0] * _SIDE
    near = (np.abs(uv) < 10 * _SIDE).all(axis=1)  # neither behind the camera (NaN) nor next to it
    for i in np.flatnonzero(near[:-1] & near[1:]):
        pen.line([*uv[i], *uv[i + 1]], *style)


def _message(text: str) -> Image.Image:
    image = Image.new("RGB", (_SIDE, _SIDE), "mistyrose")
    lines = [text[i : i + 28] for i in range(0, min(len(text), 280), 28)]
    ImageDraw.Draw(image).text((6, 6), "\n".join(lines), fill="darkred")
    return image
