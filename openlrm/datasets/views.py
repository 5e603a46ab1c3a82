"""Posed views of an object as evaluation, validation and fitting want them: fixed, nothing left to chance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets.config import DataConfig
from openlrm.datasets.mixture import Mixture
from openlrm.datasets.objaverse import ObjaverseObject, read_object
from openlrm.errors import UserError
from openlrm.utils.images import blend, resize_bicubic

if TYPE_CHECKING:
    from openlrm.datasets.items import TrainItems


@dataclass(frozen=True)
class PosedViews:
    """Views of one object.

    Attributes:
        rgba: (V, H, W, 4) float32 in [0, 1], straight alpha.
        cameras: (V,).
        turn: (3, 3) rotation from the axes of the data to those of the cameras.
    """

    rgba: np.ndarray
    cameras: Camera
    turn: np.ndarray

    def __len__(self) -> int:
        """Return V."""
        return len(self.rgba)

    def take(self, indices: Any) -> PosedViews:
        """Return the views of these indices."""
        return replace(self, rgba=self.rgba[indices], cameras=self.cameras[indices])

    def on(self, background: float, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Put the views on a background.

        Args:
            background: grey level in [0, 1].
            size: side in pixels they are resized to (bicubic); as stored without it.

        Returns:
            Pictures (V, 3, R, R) and alpha (V, R, R), float32 in [0, 1].
        """
        pictures, alpha = blend(self.rgba, background).transpose(0, 3, 1, 2), self.rgba[..., 3]
        if size is not None and size != alpha.shape[1]:
            pictures, alpha = (np.clip(resize_bicubic(images, size), 0, 1) for images in (pictures, alpha))
        return pictures, alpha


def object_views(
    root: str | os.PathLike, uid: str, normalize: bool = True, distance: str | float = "auto"
) -> PosedViews:
    """Read all views of an object; the source view is view 0.

    Args:
        root: folder of objects, or its address.
        uid: the object.
        normalize: whether to turn the cameras so that the source camera is the canonical one, as in training.
        distance: of the source camera after that; `auto` keeps its own.

    Raises:
        UserError: what `read_object` and its views refuse, or views that differ in size or are not square.
    """
    source = read_object(root, uid)
    return _read(source, range(len(source)), normalize, distance)


class ValidationItems:
    """Objects of a data config without any draw.

    Attributes:
        uids: names of the objects.
        count: views of each; 0 for all.
    """

    def __init__(self, config: DataConfig, uids: Sequence[str] | None = None, views: int = 0) -> None:
        """Read the lists of objects, no object.

        Args:
            config: its subsets and camera normalisation count.
            uids: these objects alone.
            views: how many views, evenly spread from view 0 on; 0 means all.

        Raises:
            UserError: a list of objects that cannot be read, or a uid in none of them.
        """
        self._config = config
        self._mixture = Mixture(config.subsets, uids)
        self.count = views

    @property
    def uids(self) -> list[str]:
        """Names of the objects, in the order of their lists, each once."""
        return list(dict.fromkeys(self._mixture.uids))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.uids)

    def trained_on(self, items: TrainItems) -> list[str]:
        """Return the uids that `items` draws from as well, by their name or their folder."""
        return list(dict.fromkeys(items.mixture.overlap(self._mixture)))

    def open(self, uid: str) -> tuple[ObjaverseObject, int]:
        """Open an object, no picture of it, and return it with the number of views that count.

        Raises:
            UserError: no such object, one that cannot be read, or too few views.
        """
        if uid not in self.uids:
            raise UserError(f"no object {uid!r}", "lists of objects")
        source = self._mixture.read(self._mixture.uids.index(uid))
        count = self.count or len(source)
        if count > len(source):
            raise UserError(f"the object has {len(source)} views, {count} are wanted", source.folder)
        return source, count

    def views(self, uid: str) -> PosedViews:
        """Read the chosen views of an object, view 0 first.

        Raises:
            UserError: no such object, or what `object_views` refuses.
        """
        source, count = self.open(uid)
        chosen = np.arange(count) * len(source) // count
        return _read(source, chosen, self._config.normalize_camera, self._config.normed_dist_to_center)


def _read(source: ObjaverseObject, views: Sequence[int], normalize: bool, distance: str | float) -> PosedViews:
    """Read some views, the source view first."""
    planes = [source.read_planes(int(view)) for view in views]
    if len(sizes := {view.shape[1] for view in planes}) > 1:
        raise UserError(f"views have sides of {', '.join(map(str, sorted(sizes)))} pixels", source.folder)
    stored = Camera(np.stack([source.read_pose(int(view)) for view in views]), source.intrinsics)
    cameras = stored.normalized(distance) if normalize else stored
    turn = cameras[0].rotations @ stored[0].rotations.T
    return PosedViews(np.stack(planes).transpose(0, 2, 3, 1) / np.float32(255), cameras, turn)
