"""An object with its cameras -> formats that other programs read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from openlrm.datasets.readers import Capture
from openlrm.datasets.readers.colmap_files import Image, Lens, write_model
from openlrm.errors import UserError
from openlrm.utils.images import save_image
from openlrm.utils.paths import atomic_dir

FORMATS = ("transforms", "colmap")


def export_capture(capture: Capture, folder: Path, form: str) -> None:
    """Write an object, whole or not at all.

    Args:
        capture: what was read.
        folder: `images/` and `transforms.json`, or `images/` and `sparse/0/*.txt`.
        form: one of `FORMATS`.

    Raises:
        UserError: pictures that cannot be read, names that are not different, or a folder that holds other files.
    """
    names = [f"{view.name}.png" for view in capture.views]
    if len(set(names)) < len(names):
        raise UserError("two views have the same name", capture.where)
    with atomic_dir(folder) as temporary:
        (temporary / "images").mkdir()
        sizes = []
        for view, name in zip(capture.views, names, strict=True):
            pixels = view.read()
            save_image(temporary / "images" / name, pixels)
            sizes.append(pixels.shape[1::-1])
        if form == "transforms":
            text = json.dumps({"camera_model": "PINHOLE", "frames": _frames(capture, names, sizes)}, indent=1)
            (temporary / "transforms.json").write_text(text + "\n", encoding="utf-8")
        else:
            model = temporary / "sparse" / "0"
            model.mkdir(parents=True)
            _write_colmap(model, capture, names, sizes)


def _frames(capture: Capture, names: list[str], sizes: list[tuple[int, int]]) -> list[dict]:
    frames = []
    for view, name, (width, height) in zip(capture.views, names, sizes, strict=True):
        fx, fy, cx, cy = (view.intrinsics.astype(np.float64) * [width, height, width, height]).tolist()
        lens = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height}
        matrix = np.vstack([view.c2w, [0, 0, 0, 1]]).tolist()
        frames.append({"file_path": f"images/{name}", "transform_matrix": matrix} | lens)
    return frames


def _write_colmap(model: Path, capture: Capture, names: list[str], sizes: list[tuple[int, int]]) -> None:
    lenses, numbers = {}, {}
    images = []
    w2c = capture.cameras.w2c()
    for view, name, size, pose in zip(capture.views, names, sizes, w2c, strict=True):
        key = (*size, *view.intrinsics.tolist())
        number = numbers.setdefault(key, len(numbers) + 1)
        lenses[number] = Lens(*size, view.intrinsics, None)
        images.append(Image(name, number, pose[:3]))
    write_model(model, lenses, images)
