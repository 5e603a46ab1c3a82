"""A COLMAP model, text or binary, with the pictures it was made of.

    images/...                          pictures, as the model names them
    sparse/0/cameras.txt images.txt     or .bin; `sparse`, `colmap/sparse/0` and the folder itself are looked into too
    masks/...                           NAME.png, or the picture's own name: the object is bright

Poses are world-to-camera in OpenCV's axes, pixel (0, 0) is centred at (0.5, 0.5).
"""

from __future__ import annotations

from pathlib import Path

from openlrm.cameras import Camera
from openlrm.datasets.readers.capture import Capture, View, check_inside, existing_file, picture_size
from openlrm.datasets.readers.colmap_files import Image, Lens, read_model
from openlrm.errors import UserError

_MODELS = ("sparse/0", "sparse", "colmap/sparse/0", ".")
_MASKS = ("masks", "mask")
_ASPECT = 0.02


def found(folder: Path) -> bool:
    """Whether a folder holds a model and pictures."""
    return (folder / "images").is_dir() and model_of(folder) is not None


def model_of(folder: Path) -> Path | None:
    """The folder of the model; None without one."""
    places = [folder / name for name in _MODELS]
    return next((at for at in places if any((at / f"images{end}").is_file() for end in (".bin", ".txt"))), None)


def read(folder: Path, masks: Path | None = None) -> Capture:
    """Read the cameras and the names of the pictures.

    Args:
        folder: see above.
        masks: folder of the masks; `masks` or `mask` in the folder, if there is one, without it.

    Raises:
        UserError: a model that cannot be read, a lens that is not known, or pictures that are not there.
    """
    model = model_of(folder)
    if model is None:
        raise UserError("no COLMAP model", folder, "expected sparse/0/cameras.bin and images.bin, or .txt")
    lenses, images = read_model(model)
    if masks is None:
        masks = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
    return Capture(folder.resolve().name, tuple(_view(folder, masks, one, lenses, model) for one in images), model)


def _view(folder: Path, masks: Path | None, image: Image, lenses: dict[int, Lens], model: Path) -> View:
    picture = existing_file(folder / "images", image.name, model)
    if image.lens not in lenses:
        raise UserError(f"{image.name} has camera {image.lens}, which there is not", model)
    lens = lenses[image.lens]
    width, height = picture_size(picture)
    if abs(width * lens.height / (height * lens.width) - 1) > _ASPECT:
        what = f"the picture is {width} x {height}, its camera says {lens.width} x {lens.height}"
        raise UserError(what, picture, "give the pictures that the cameras were computed for")
    pose = Camera.from_w2c(image.w2c).c2w
    name = check_inside(image.name, model).replace("/", "_").rpartition(".")[0] or image.name
    mask = None if masks is None else _mask(masks, image.name)
    return View(name, picture, pose, lens.intrinsics, mask, lens.distortion)


def _mask(masks: Path, name: str) -> Path:
    options = [masks / f"{name}.png", masks / name, (masks / name).with_suffix(".png")]
    for path in options:
        if path.is_file():
            return path
    raise UserError(f"no mask of {name}", masks, "every picture has one, called NAME.png, or there are none at all")
