"""The objects that are looked at: posed views, the source picture, and the camera that the model is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets import PosedViews, object_views
from openlrm.errors import UserError
from openlrm.utils.run_files import read_uid_file

if TYPE_CHECKING:
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.representations.triplane import Triplane

SOURCE_CAMERAS = ("actual", "canonical")
"""What the model is told of its picture: the pose and lens it was taken with, or distance 2.0 whatever the true one."""


@dataclass(frozen=True)
class Subject:
    """One object as every experiment sees it.

    Attributes:
        uid: its name.
        views: all views, cameras turned so that the source view is the canonical one at its own distance.
        source_view: index of the view that the model is given.
        source_camera: () what the model is told of it.
    """

    uid: str
    views: PosedViews
    source_view: int
    source_camera: Camera

    @property
    def distance(self) -> float:
        """True distance of the source camera from the object's centre."""
        return float(np.linalg.norm(self.views.cameras[self.source_view].centers))

    def truth(self, indices: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Views on white at a size: (V, 3, R, R) and alpha (V, R, R)."""
        return self.views.take(np.asarray(indices)).on(1.0, size)

    def predict(self, reconstructor: Reconstructor) -> Triplane:
        """The model's answer to the source view.

        Raises:
            UserError: it makes no triplane, or planes that are not square.
        """
        from openlrm.representations.triplane import Triplane

        picture = self.views.rgba[self.source_view]
        made = reconstructor(picture, self.source_camera, name=self.uid)
        if not isinstance(made, Triplane):
            raise UserError(
                f"{reconstructor.name} does not make triplanes", hint="name a model that does, such as an LRM"
            )
        if made.planes.shape[-1] != made.planes.shape[-2]:
            raise UserError(f"{reconstructor.name} has planes of {made.planes.shape[-2:]}, which are not square")
        return made


def read_subject(root: str, uid: str, source_view: int = 0, source_camera: str = "actual") -> Subject:
    """Read an object in the layout of training data.

    Raises:
        UserError: an object that cannot be read, or has no such view.
    """
    views = object_views(root, uid, normalize=False)
    if source_view >= len(views):
        raise UserError(f"source_view={source_view}, but {uid} has views 0 to {len(views) - 1}", root)
    order = np.r_[source_view, np.delete(np.arange(len(views)), source_view)]
    turned = views.cameras[order].normalized()[np.argsort(order)]
    told = turned[source_view] if source_camera == "actual" else Camera.canonical()
    return Subject(uid, dataclasses.replace(views, cameras=turned), source_view, told)


def list_objects(root: str, part: str = "all") -> list[str]:
    """Names of the objects of a folder: of meta/<part>_uids.json ("train", "val"), else of meta.json.

    Raises:
        UserError: neither is there.
    """
    places = [*([Path(root) / "meta" / f"{part}_uids.json"] if part != "all" else []), Path(root) / "meta.json"]
    for place in places:
        if place.is_file():
            return read_uid_file(place)
    raise UserError("no list of objects", root, "give uids=a,b, or write meta.json")


def spread_views(count: int, wanted: int) -> np.ndarray:
    """Every (count // wanted)th of `count` views, `wanted` of them: 0, 4, .. 28 of 32.

    Raises:
        UserError: there are fewer.
    """
    if wanted > count:
        raise UserError(f"{wanted} views are asked for, but there are {count}", hint="ask for fewer")
    return np.arange(wanted) * (count // wanted)


def kept_views(count: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Views that a fit uses, and those it never sees: evenly spread, view 0 not among them.

    Raises:
        UserError: none would be left to fit.
    """
    if kept >= count:
        raise UserError(f"kept_views={kept}, but the object has {count} views", hint="keep fewer")
    held = np.round((np.arange(kept) + 0.5) * count / max(kept, 1)).astype(int)
    return np.setdiff1d(np.arange(count), held), held


def tuning_views(count: int, trained: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of fine-tuning: trained on 0, 8, 16, 24 of 32, measured on 1, 5, 10, 14, 19, 23.

    Raises:
        UserError: fewer views than are asked for.
    """
    chosen = spread_views(count, trained)
    rest = np.setdiff1d(np.arange(count), chosen)
    if not len(rest):
        raise UserError(f"num_train_views={trained} of {count} leaves none to measure", hint="train on fewer")
    return chosen, rest[:: max(len(rest) // 6, 1)][:6]
