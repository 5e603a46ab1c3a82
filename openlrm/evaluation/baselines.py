"""What a model must beat that has only ever looked at the training set: the mean training object."""

from __future__ import annotations

import numpy as np

from openlrm.cameras import Camera, normalize_poses
from openlrm.datasets.cache import ByteCache
from openlrm.datasets.objaverse import read_object
from openlrm.evaluation.objects import find_root
from openlrm.utils.images import resize_bicubic

_CACHE_MIB = 1024


class MeanObject:
    """Pictures of the mean over objects: of each, the view whose camera is nearest to the one asked for.

    No guess without the input has a much smaller squared error, for the mean of all pictures is the best constant.
    The views that are averaged are some degrees away from the camera, as far as the stored ones are apart; lenses are
    taken to be the same.

    Args:
        roots: folders of objects.
        uids: the objects.
        background: grey level the views are put on.
        normalize: whether cameras are turned as in `openlrm.datasets.object_views`.
        distance: of the source camera after that, or "auto".

    Raises:
        UserError: an object that cannot be read.
    """

    def __init__(
        self, roots: list[str], uids: list[str], background: float, normalize: bool, distance: str | float
    ) -> None:
        self.background = background
        self.objects = [read_object(find_root(roots, uid), uid) for uid in uids]
        self.centres = []
        for item in self.objects:
            poses = np.stack([item.read_pose(view) for view in range(len(item))])
            self.centres.append((normalize_poses(poses, distance) if normalize else poses)[:, :3, 3])
        self._cache = ByteCache(_CACHE_MIB * 2**20)

    def render(self, cameras: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean pictures.

        Args:
            cameras: (V,).
            size: side in pixels.

        Returns:
            Colours (V, 3, size, size) on the background and opacity (V, size, size), float32 in [0, 1].

        Raises:
            UserError: a picture that cannot be read.
        """
        pictures = np.stack([self._mean(centre, size) for centre in cameras.centers])
        return pictures[:, :3], pictures[:, 3]

    def _mean(self, centre: np.ndarray, size: int) -> np.ndarray:
        """Blended colours and alpha (4, size, size) of the mean seen from a camera centre (3,)."""
        # Resized after adding up: one picture for every stored size instead of one for every object.
        sums: dict[int, np.ndarray] = {}
        for number, centres in enumerate(self.centres):
            picture = self._picture(number, int(((centres - centre) ** 2).sum(axis=1).argmin()))
            sums.setdefault(picture.shape[1], np.zeros(picture.shape, np.float32))[...] += picture
        resized = [total if side == size else resize_bicubic(total, size) for side, total in sums.items()]
        return np.clip(sum(resized) / len(self.objects), 0, 1).astype(np.float32)

    def _picture(self, number: int, view: int) -> np.ndarray:
        """Colours on the background and alpha, (4, S, S) float16."""
        picture = self._cache.get((number, view))
        if picture is None:
            planes = self.objects[number].read_planes(view) / np.float32(255)
            planes[:3] = planes[:3] * planes[3] + np.float32(self.background) * (1 - planes[3])
            picture = planes.astype(np.float16)
            self._cache.put((number, view), picture)
        return picture
