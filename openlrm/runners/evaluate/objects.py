"""Which objects are evaluated, and how each is read: the same way as in training."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.errors import UserError
from openlrm.utils.texts import decode, list_lines


@dataclass(frozen=True)
class Training:
    """What the folder of a model tells about its training; defaults for what it does not.

    Attributes:
        roots: folders of the training objects.
        lists: files with their uids, one for every subset.
        normalize: whether cameras were turned so that the source camera is the canonical one.
        distance: of the source camera after that, or "auto".
        uids: training objects; None when unknown.
    """

    roots: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    normalize: bool = True
    distance: str | float = "auto"
    uids: frozenset[str] | None = None


@dataclass(frozen=True)
class EvaluatedObject:
    """One object, ready to be reconstructed and compared.

    Attributes:
        source_image: (3, S, S) float32, view 0 on white.
        source_camera: (16,).
        cameras: (V, 25), the source view first.
        truth: (V, 3, R, R) float32, the views on the background.
        alpha: (V, R, R) float32.
        turn: (3, 3) rotation from the data's axes to those of the cameras.
    """

    source_image: np.ndarray
    source_camera: np.ndarray
    cameras: np.ndarray
    truth: np.ndarray
    alpha: np.ndarray
    turn: np.ndarray


def read_training(folder: Path) -> Training:
    """Read cfg.yaml and train_uids.json of a model's folder; defaults where there are none.

    Raises:
        UserError: one of them cannot be read.
    """
    from openlrm.training.run_folder import CONFIG, UIDS

    uids = frozenset(read_uid_file(folder / UIDS)) if (folder / UIDS).is_file() else None
    if not (folder / CONFIG).is_file():
        return Training(uids=uids)
    data = _mapping(_read_yaml(folder / CONFIG).get("data"))
    subsets = [_mapping(subset) for subset in data.get("subsets") or []]
    return Training(
        roots=[str(root) for subset in subsets for root in subset.get("root_dirs") or []],
        lists=[str(s.get("meta_path") or f"{s['root_dirs'][0]}/meta.json") for s in subsets if s.get("root_dirs")],
        normalize=data.get("normalize_camera", True),
        distance=data.get("normed_dist_to_center", "auto"),
        uids=uids,
    )


def choose_uids(roots: list[str], lists: list[str], uids: list[str], uid_file: str | None) -> list[str]:
    """Names of the objects to evaluate, each once, in order: those given, else all that the lists hold.

    Raises:
        UserError: both ways of giving them, a list that cannot be read, or an object in none of the folders.
    """
    from openlrm.datasets.objaverse import check_uid, read_uids

    if uids and uid_file:
        raise UserError("uids and uid_file are two ways to name the objects", "command line", "give one of them")
    if uid_file:
        uids = read_uid_file(Path(uid_file))
    elif not uids:
        uids = [uid for name in lists for uid in read_uids(name)]
    uids = list(dict.fromkeys(uids))
    for uid in uids:
        check_uid(uid, "names of objects")
        find_root(roots, uid)
    return uids


def read_uid_file(path: Path) -> list[str]:
    """Names from a JSON list, or from a text with one on each line.

    Raises:
        UserError: not readable, or no names in it.
    """
    try:
        text = decode(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list of objects ({error})", path) from error
    try:
        # A name by itself is no JSON, even if it is a number.
        uids = json.loads(text) if text.lstrip().startswith(("[", "{")) else list_lines(text)
    except ValueError:
        uids = list_lines(text)
    if not isinstance(uids, list) or not uids or not all(isinstance(uid, str) for uid in uids):
        raise UserError("not a list of names", path, 'write a JSON list such as ["chair", "mug"], or one name a line')
    return uids


def find_root(roots: list[str], uid: str) -> str:
    """Return the first folder that has the object; UserError when none has."""
    from openlrm.datasets.storage import open_place

    for root in roots:
        if (open_place(root) / uid).is_dir():
            return root
    raise UserError(f"no object {uid!r}", ", ".join(roots), "its folder holds rgba/, pose/ and intrinsics.npy")


def read_views(
    root: str,
    uid: str,
    source_size: int,
    render_size: int | None,
    background: float,
    normalize: bool,
    distance: str | float,
) -> EvaluatedObject:
    """Read all views of an object.

    Args:
        root: folder of objects.
        uid: the object.
        source_size: side in pixels of the model's input.
        render_size: side in pixels of the views; as stored without it.
        background: grey level the views are put on.
        normalize: whether to turn the cameras, see `openlrm.cameras.normalize_poses`.
        distance: of the source camera after that, or "auto".

    Raises:
        UserError: what `openlrm.datasets.object_views` refuses.
    """
    from openlrm.datasets import blend, object_views, read_object
    from openlrm.utils.images import resize_bicubic

    views = object_views(root, uid, source_size, normalize, distance)
    truth, alpha = blend(views.rgba, background).transpose(0, 3, 1, 2), views.rgba[..., 3]
    if render_size is not None and render_size != alpha.shape[1]:
        truth, alpha = (np.clip(resize_bicubic(images, render_size), 0, 1) for images in (truth, alpha))
    stored = read_object(root, uid).read_pose(0)
    turned = views.render_cameras[0, :16].reshape(4, 4)
    return EvaluatedObject(
        source_image=views.source_image,
        source_camera=views.source_camera,
        cameras=views.render_cameras,
        truth=truth,
        alpha=alpha,
        turn=turned[:3, :3] @ stored[:, :3].T,
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    try:
        return _mapping(OmegaConf.to_container(OmegaConf.load(path)))
    except Exception as error:
        # YAML and OmegaConf have a dozen exceptions for a damaged file.
        raise UserError(f"cannot read the run's config ({error})", path) from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
