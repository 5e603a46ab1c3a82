"""Files of an evaluation: figures, protocol, comparison sheets."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.evaluation.scores import METRICS, Figures
from openlrm.utils.images import resize_bicubic, save_image
from openlrm.utils.paths import atomic_path

SHEET_VIEWS = 8
"""Views on a comparison sheet at most."""

_GAP = 4
_LETTERS = 10  # least height of captions in pixels


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON; NaN and infinity are refused."""
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write YAML in the order given."""
    import yaml

    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def write_csv(path: Path, objects: dict[str, Any], mean: dict[str, Any]) -> None:
    """Write a line for every object and one for the mean.

    Columns: the metrics without the input view, the same with it (`..._with_input`), those of the input copied as
    every other view (`copy_...`), those of the mean training object if it was asked for (`mean_...`), seconds, and mesh
    figures if there are any. A figure that does not exist is empty.

    Args:
        path: the file.
        objects: uid -> its figures.
        mean: their mean, as `summarise` makes it.
    """
    groups = {"{}": "without_input_view", "{}_with_input": "with_input_view", "copy_{}": "input_copied"}
    if "mean_object" in mean:
        groups["mean_{}"] = "mean_object"
    columns = ["uid", "in_training", "views", *(name.format(metric) for name in groups for metric in METRICS)]
    columns += ["seconds_planes", "seconds_render", *mean.get("mesh", {})]
    lines = []
    for uid, entry in [*objects.items(), ("mean", mean)]:
        values = {key: entry.get(key) for key in ("in_training", "seconds_planes", "seconds_render")}
        values |= {"uid": uid, "views": len(entry["views"]) if "views" in entry else None} | (entry.get("mesh") or {})
        for name, kind in groups.items():
            values |= {name.format(metric): value for metric, value in (entry[kind] or {}).items()}
        lines.append([_cell(values.get(column)) for column in columns])
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *lines])


def write_sheet(path: Path, source: np.ndarray, truth: np.ndarray, shown: np.ndarray, views: list[Figures]) -> None:
    """Draw input, truth, render and error of an object, up to `SHEET_VIEWS` views evenly spread after the input.

    The rows are truth, render and error; the input stands left of them. An error of 0 is black, of 1/3 red, of
    2/3 yellow, of 1 white (mean over channels). Above each view: its number, PSNR and the object's PSNR in dB.

    Args:
        path: the picture.
        source: (3, S, S) input of the model.
        truth: (V, 3, R, R).
        shown: (V, 3, R, R).
        views: figures of every view.
    """
    count, side = len(truth), truth.shape[-1]
    first = 1 if count > 1 else 0
    chosen = first + np.arange(min(SHEET_VIEWS, count - first)) * (count - first) // min(SHEET_VIEWS, count - first)
    columns = [[np.clip(resize_bicubic(source, side), 0, 1), *np.ones((2, 3, side, side), np.float32)]]
    columns += [[truth[view], shown[view], heat(np.abs(shown[view] - truth[view]).mean(axis=0))] for view in chosen]
    step = side + _GAP
    letters = max(_LETTERS, side // 12)
    header = letters + 6
    sheet = np.ones((header + 3 * step, len(columns) * step, 3), np.float32)
    for number, column in enumerate(columns):
        for row, picture in enumerate(column):
            top, left = header + row * step, number * step
            sheet[top : top + side, left : left + side] = picture.transpose(1, 2, 0)
    captions = ["input"] + [_caption(views[view]) for view in chosen]
    save_image(path, _write_captions(sheet, captions, step, letters))


def heat(error: np.ndarray) -> np.ndarray:
    """Colours of errors in [0, 1]: (H, W) -> (3, H, W), black, red, yellow, white."""
    return np.stack([np.clip(3 * error - channel, 0, 1) for channel in range(3)]).astype(np.float32)


def _caption(figures: Figures) -> str:
    inside = figures["psnr_object"]
    return f"{figures['view']}: {figures['psnr']:.1f}" + ("" if inside is None else f" / {inside:.1f}")


def _write_captions(sheet: np.ndarray, captions: list[str], step: int, letters: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    from openlrm.utils.images import to_uint8

    image = Image.fromarray(to_uint8(sheet))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(letters)
    for number, caption in enumerate(captions):
        draw.text((number * step + 2, 2), caption, fill=(0, 0, 0), font=font)
    return np.asarray(image)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
