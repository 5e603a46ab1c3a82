"""Make the pictures and the rendered object under assets/ from a folder of renders.

    python scripts/data/make_samples.py path/to/renders

Reads the training layout (<uid>/rgba, pose, intrinsics.npy) and writes, byte for byte the same on every run,
`sample_input/<uid>.png` and `sample_object/` in the training layout at half the resolution.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.images import load_rgba, to_uint8
from openlrm.utils.paths import atomic_path

SAMPLE_INPUT = {
    "barbarian": "RGBA",
    "building_g": "RGBA",
    "food_dinner": "RGBA",
    "knight": "RGBA",
    "car_police": "RGB",
    "chair_a": "RGB",
    "firehydrant": "RGB",
    "mug_full": "RGB",
}
"""Objects of the sample pictures; RGB ones are blended on white, as photographs of products are."""

SAMPLE_OBJECT = "food_dinner"


def halve(rgba: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2 pixels, colours weighted by alpha.

    A plain mean would let the meaningless colour of empty pixels bleed into the outline.

    Args:
        rgba: (H, W, 4) in [0, 1], H and W even, colours not multiplied by alpha.

    Returns:
        (H / 2, W / 2, 4) in [0, 1]; black where alpha is zero.
    """
    height, width, _ = rgba.shape
    blocks = rgba.reshape(height // 2, 2, width // 2, 2, 4)
    alpha = blocks[..., 3:]
    weight = alpha.sum(axis=(1, 3))
    colour = (blocks[..., :3] * alpha).sum(axis=(1, 3)) / np.where(weight > 0, weight, 1)
    return np.concatenate([colour, weight / 4], axis=-1)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3 or 4) values in [0, 1] as the smallest 8-bit PNG Pillow finds."""
    with atomic_path(path) as temporary:
        Image.fromarray(to_uint8(image)).save(temporary, format="PNG", optimize=True)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)


def make_sample_input(renders: Path, output: Path) -> None:
    """Write the frontal view (number 0) of each object of `SAMPLE_INPUT`."""
    for uid, mode in SAMPLE_INPUT.items():
        image = load_rgba(renders / uid / "rgba" / "000.png")
        if mode == "RGB":
            image = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
        save_png(output / f"{uid}.png", image)


def make_sample_object(renders: Path, output: Path) -> None:
    """Write every view of `SAMPLE_OBJECT` at half the resolution; poses stay, intrinsics are in pixels."""
    source, target = renders / SAMPLE_OBJECT, output / SAMPLE_OBJECT
    views = sorted((source / "rgba").glob("*.png"))
    if not views:
        raise UserError("no views of the sample object", source / "rgba", "give the root of the renders")
    for view in views:
        save_png(target / "rgba" / view.name, halve(load_rgba(view)))
        save_array(target / "pose" / f"{view.stem}.npy", np.load(source / "pose" / f"{view.stem}.npy"))
    save_array(target / "intrinsics.npy", np.load(source / "intrinsics.npy") / 2)
    with atomic_path(output / "meta.json") as temporary:
        temporary.write_text(json.dumps([SAMPLE_OBJECT]) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renders", type=Path, help="folder of rendered objects, 256x256 RGBA views")
    parser.add_argument("--output", type=Path, default=Path("assets"), help="folder to write (assets)")
    arguments = parser.parse_args(argv)
    try:
        make_sample_input(arguments.renders, arguments.output / "sample_input")
        make_sample_object(arguments.renders, arguments.output / "sample_object")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
