"""The Python interface: a picture to a scene in one call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openlrm.cameras import Camera
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.preprocess.picture import Picture
    from openlrm.preprocess.posed_views import ViewOptions
    from openlrm.representations.base import Representation

_DEMO = "openlrm-tiny-demo"


def reconstruct(
    image: Picture | Sequence[Picture],
    model: str | os.PathLike | Reconstructor | None = None,
    *,
    cameras: Camera | str | os.PathLike | None = None,
    background: str = "auto",
    recentre: bool | None = None,
    source_cam_dist: float = 2.0,
    device_target: str | None = None,
    views: ViewOptions | None = None,
    adapter: str | os.PathLike | None = None,
) -> Representation:
    """Make a 3D scene of the object in a picture, or in several with their cameras, as the model's family needs.

    Args:
        image: path, open file, PIL picture, or array (H, W, 3) or (H, W, 4), uint8 or float in [0, 1]; or a list of
            such pictures; or what `openlrm.preprocess.posed_views.read_posed_views` takes: a folder or file that tells
            its cameras, and with named cameras a sheet, a video or a folder.
        model: a release or run folder, checkpoint file or hub id; or what `load_model` gave, for many pictures;
            the demonstration model without it.
        cameras: (K,) that took the pictures, as they are; or `folder`, the name of a rig such as `zero123plus`, or a
            `transforms.json`, brought to the world the family was trained in. For one picture the canonical camera
            without it.
        background: how the object is cut out, see `openlrm.preprocess.prepare_picture`.
        recentre: centre and scale the object as the models expect it; without it an object that is cut out stays
            where it is in the picture. None: yes, unless there are cameras, which it would contradict.
        source_cam_dist: distance of the canonical camera, in units of the scene, whose cube is 2 wide; a recentred
            object is scaled to what that camera sees of an object of the training's size.
        device_target: "Ascend" or "CPU", of a model that is yet to be loaded; Ascend when there is one without it.
        views: more about posed pictures: which are kept, `scale`, `normalize` and others; `background` and the family's
            rigs replace its own, and so does `cameras` if it is given.
        adapter: folder of a LoRA, for a model that is yet to be loaded; see `load_model`.

    Returns:
        The scene: `render`, `mesh`, `save` and more, see `openlrm.representations.base.Representation`.

    Raises:
        UserError: picture, model or option that cannot be used.
    """
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.preprocess import border_ratio_at, prepare_picture
    from openlrm.preprocess.posed_views import ViewOptions, tells_cameras

    if adapter is not None and isinstance(model, Reconstructor):
        raise UserError("the model is loaded already", hint="give the adapter to load_model")
    named = cameras if isinstance(cameras, (str, os.PathLike)) else None
    if named is not None or views is not None or (cameras is None and tells_cameras(image)):
        if recentre or named is not cameras:
            what = "recentre" if recentre else "cameras=Camera(...)"
            raise UserError(f"{what} contradicts the cameras that are read", hint="leave it out")
        reconstructor = _loaded(model, device_target, adapter)
        return _reconstruct_views(image, reconstructor, named, background, views or ViewOptions())
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    centred = cameras is None if recentre is None else recentre
    margin = border_ratio_at(source_cam_dist)
    pictures = [prepare_picture(one, background, centred, margin).pixels for one in images]
    reconstructor = _loaded(model, device_target, adapter)
    names = [one if isinstance(one, (str, os.PathLike)) else "the picture" for one in images]
    return reconstructor(pictures, cameras, name=names, source_cam_dist=source_cam_dist)


def _loaded(
    model: str | os.PathLike | Reconstructor | None, device_target: str | None, adapter: str | os.PathLike | None
) -> Reconstructor:
    from openlrm.families.reconstructor import Reconstructor

    return model if isinstance(model, Reconstructor) else load_model(model, device_target, adapter=adapter)


def _reconstruct_views(
    image: Picture | Sequence[Picture],
    reconstructor: Reconstructor,
    cameras: str | os.PathLike | None,
    background: str,
    options: ViewOptions,
) -> Representation:
    from openlrm.preprocess.posed_views import read_posed_views

    family = reconstructor.family
    read = read_posed_views(
        image,
        options,
        cameras=options.cameras if cameras is None else cameras,
        normalize=family.normalize if options.normalize is None else options.normalize,
        background=background,
        rigs=family.rigs,
    )
    return reconstructor(read.pictures, read.cameras, name=read.names)


def load_model(
    model: str | os.PathLike | None = None,
    device_target: str | None = None,
    source_size: int | None = None,
    adapter: str | os.PathLike | None = None,
) -> Reconstructor:
    """Load a model of any family once, for `reconstruct(image, model)` of many pictures.

    It chooses the device of the process and PyNative mode, see `openlrm.ops.setup_device`.

    Args:
        model: a release or run folder, checkpoint file or hub id; the demonstration model without it.
        device_target: "Ascend" or "CPU"; Ascend when there is one without it.
        source_size: side in pixels of the encoder's input; what the model was made for without it.
        adapter: folder of a LoRA to put onto it, ours or PEFT's; see `openlrm.checkpoint.adapter`.

    Returns:
        The model's `Reconstructor`: `.model` is its Cell; called with pictures and cameras it gives a representation.

    Raises:
        UserError: not found, unreadable, an adapter that does not fit, or a device that is not there.
    """
    path = default_model() if model is None else model
    from openlrm.checkpoint import locate_model
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.ops import setup_device

    setup_device(device_target)
    return Reconstructor.load(locate_model(os.fspath(path)), source_size, adapter=adapter)


def load_scene(path: str | os.PathLike, device_target: str | None = None) -> Representation:
    """Read a scene that `save("....safetensors")`, `fit.triplane` or `export_planes` wrote.

    Raises:
        UserError: not such a file, or a device that is not there.
    """
    from openlrm.ops import setup_device
    from openlrm.representations import read_representation

    setup_device(device_target)
    return read_representation(path)


def default_model() -> Path:
    """Folder of the demonstration model: in the installed package, or in the clone this package is in.

    Raises:
        UserError: it is in neither.
    """
    package = Path(__file__).resolve().parent
    places = (package / "demo" / _DEMO, package.parent / "assets" / _DEMO)
    for folder in places:
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        "the demonstration model is not in this installation",
        places[0],
        f"name a model: assets/{_DEMO} of the repository, another folder, a checkpoint, or a hub id such as "
        "zxhezexin/openlrm-obj-small-1.1",
    )
