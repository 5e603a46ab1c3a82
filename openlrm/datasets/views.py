"""All views of an object as evaluation and validation want them: fixed, on white, with nothing left to chance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openlrm.cameras import build_render_camera, build_source_camera, normalize_poses
from openlrm.datasets.config import DataConfig
from openlrm.datasets.mixture import Mixture
from openlrm.datasets.objaverse import ObjaverseObject, read_object
from openlrm.datasets.regions import composite, resize_region, whole_view
from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.datasets.items import TrainItems

WHITE = 1.0


@dataclass(frozen=True)
class ObjectViews:
    """An object as the model sees it, and all its views to compare with.

    Attributes:
        source_image: (3, S, S) float32 in [0, 1], view 0 on white.
        source_camera: (16,) float32, see `openlrm.cameras.build_source_camera`.
        render_cameras: (V, 25) float32, see `openlrm.cameras.build_render_camera`; row 0 is the source view's.
        rgba: (V, H, W, 4) float32 in [0, 1], straight alpha, at the size they are stored in.
    """

    source_image: np.ndarray
    source_camera: np.ndarray
    render_cameras: np.ndarray
    rgba: np.ndarray


def object_views(
    root: str | os.PathLike, uid: str, source_size: int, normalize: bool = True, distance: str | float = "auto"
) -> ObjectViews:
    """Read all views of an object; the source view is view 0.

    Args:
        root: folder of objects, or its address.
        uid: the object.
        source_size: side in pixels of the model's input.
        normalize: whether to turn the cameras so that the source camera is the canonical one, as in training.
        distance: of the source camera after that; `auto` keeps its own.

    Raises:
        UserError: what `read_object` and its views refuse, or views that differ in size or are not square.
    """
    source = read_object(root, uid)
    planes, poses = _read(source, range(len(source)), normalize, distance)
    return ObjectViews(
        source_image=whole_view(planes[0], source_size, WHITE),
        source_camera=build_source_camera(poses[0], source.intrinsics),
        render_cameras=build_render_camera(poses, source.intrinsics),
        rgba=planes.transpose(0, 2, 3, 1) / np.float32(255),
    )


class ValidationItems:
    """Objects of a data config without any draw.

    Attributes:
        uids: names of the objects.
        render_size: side in pixels of the views, or None.
        views: how many of each, 0 for all.
    """

    def __init__(
        self, config: DataConfig, uids: Sequence[str] | None = None, render_size: int | None = None, views: int = 0
    ) -> None:
        """Read the lists of objects, no object.

        Args:
            config: its subsets, source size and camera normalisation count.
            uids: these objects alone.
            render_size: side in pixels of the views; as stored without it.
            views: how many views, evenly spread from view 0 on; 0 means all.

        Raises:
            UserError: a list of objects that cannot be read, or a uid in none of them.
        """
        self._config = config
        self._mixture = Mixture(config.subsets, uids)
        self.render_size = render_size
        self.views = views

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
        count = self.views or len(source)
        if count > len(source):
            raise UserError(f"the object has {len(source)} views, {count} are wanted", source.folder)
        return source, count

    def view_item(self, uid: str) -> dict[str, np.ndarray]:
        """Return an object in the form of a training item, whole views instead of regions.

        Args:
            uid: one of `uids`.

        Returns:
            The arrays of `TrainItems.item` in float32 with M = number of views, view 0 first, R = render size, anchors
            0 and background 1.

        Raises:
            UserError: no such object, or what `object_views` refuses.
        """
        config = self._config
        source, count = self.open(uid)
        chosen = np.arange(count) * len(source) // count
        planes, poses = _read(source, chosen, config.normalize_camera, config.normed_dist_to_center)
        size = self.render_size or planes.shape[2]
        resized = [resize_region(view, size, (0, 0), size) for view in planes]
        item = {
            "source_camera": build_source_camera(poses[0], source.intrinsics),
            "source_image": whole_view(planes[0], config.source_image_res, WHITE),
            "render_camera": build_render_camera(poses, source.intrinsics),
            "render_image": np.stack([composite(*view, WHITE) for view in resized]),
            "render_mask": np.clip(np.stack([alpha for _, alpha in resized]), 0, 1),
            "render_anchors": np.zeros((count, 2)),
            "render_full_resolutions": np.full((count, 1), size),
            "render_bg_colors": np.full((count, 1), WHITE),
        }
        return {name: np.ascontiguousarray(array, np.float32) for name, array in item.items()}


def _read(
    source: ObjaverseObject, views: Sequence[int], normalize: bool, distance: str | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (V, 4, S, S) uint8 planes and (V, 3, 4) poses of some views, the source view first."""
    planes = [source.read_planes(int(view)) for view in views]
    if len(sizes := {view.shape[1] for view in planes}) > 1:
        raise UserError(f"views have sides of {', '.join(map(str, sorted(sizes)))} pixels", source.folder)
    poses = np.stack([source.read_pose(int(view)) for view in views])
    return np.stack(planes), normalize_poses(poses, distance) if normalize else poses
