"""Training items: what is drawn of which object, and where broken objects are passed over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets.cache import ByteCache
from openlrm.datasets.config import DataConfig
from openlrm.datasets.hiccups import WAITS, may_pass
from openlrm.datasets.item import Item, draw_item
from openlrm.datasets.mixture import Mixture
from openlrm.datasets.objaverse import ObjaverseObject
from openlrm.errors import UserError
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

CHECK_HINT = "python -m openlrm.launch check.data --root ... lists everything that is wrong with a set"


@dataclass(frozen=True)
class Drawn:
    """An item, and what had to be passed over to get it.

    Attributes:
        item: None when no usable object was found.
        broken: why, by the object's number.
    """

    item: Item | None
    broken: dict[int, str] = field(default_factory=dict)


class TrainItems:
    """Items of training data, each a function of seed, epoch and index alone.

    Nothing else counts: not which items were drawn before, nor in which process. Of an item's side views + 1 target
    views the first ones are its source views too; S = `source_image_res` and R = `render_region_size`.

    Attributes:
        config: as given.
        mixture: the objects.
        uids: their names, one after another of every subset.
        broken: number of the broken objects reported so far, and why.
    """

    def __init__(self, config: DataConfig, seed: int, uids: Sequence[str] | None = None, sources: int = 1) -> None:
        """Read the lists of objects, no object.

        Args:
            config: subsets and draws.
            seed: of every draw, 0 or more.
            uids: use these objects alone (to overfit, or to keep others for validation).
            sources: source views of an item.

        Raises:
            UserError: fewer views than sources, a list of objects that cannot be read, or a uid in none of them.
        """
        if config.sample_side_views + 1 < sources:
            what = f"{sources} source views, but sample_side_views={config.sample_side_views}"
            raise UserError(what, "data", f"give at least {sources - 1}: the source views are among the drawn ones")
        self.config = config
        self.seed = seed
        self.sources = sources
        self.broken: dict[int, str] = {}
        self._unreadable: set[int] = set()
        self.mixture = Mixture(config.subsets, uids)
        self._open_caches()

    def _open_caches(self) -> None:
        self._cache = ByteCache(self.config.cache_mib * 2**20)
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._object = lru_cache(maxsize=4096)(self.mixture.read)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process is given: all but the caches."""
        return {name: value for name, value in vars(self).items() if name not in ("_cache", "_order", "_object")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open_caches()

    @property
    def uids(self) -> list[str]:
        """Names of the objects, in the order of their lists."""
        return self.mixture.uids

    def __len__(self) -> int:
        """Return the number of items in an epoch: the objects of every subset times its sample rate."""
        return len(self.mixture)

    def item(self, epoch: int, index: int) -> Item:
        """Draw one item.

        Args:
            epoch: 0 or more.
            index: 0 or more; beyond the end of the epoch its objects come up again, with other draws.

        Raises:
            UserError: more than `max_broken` objects are broken.
        """
        drawn = self.draw(epoch, index)
        self.report(drawn.broken)
        if drawn.item is None:
            raise self.too_many(drawn.broken)
        return drawn.item

    def draw(self, epoch: int, index: int) -> Drawn:
        """Draw one item and leave it to the caller to report what is broken (see `item`)."""
        order = self._order(epoch)
        rng = np.random.default_rng([self.seed, epoch, 1 + index])
        number = int(order[index % len(order)])
        broken: dict[int, str] = {}
        while True:
            try:
                return Drawn(self._read(number, rng), broken)
            except (UserError, OSError) as error:
                broken[number] = str(error)
            untried = np.setdiff1d(order, list(broken))
            if len(broken) > self.config.max_broken or not untried.size:
                return Drawn(None, broken)
            number = int(rng.choice(untried))

    def report(self, broken: dict[int, str]) -> None:
        """Log every broken object once, and count it.

        Raises:
            UserError: they have become more than `max_broken`.
        """
        for number, reason in broken.items():
            if number not in self.broken:
                self.broken[number] = reason
                logger.warning("passed over (broken object %d): %s", len(self.broken), reason)
        if len(self.broken) > self.config.max_broken:
            raise self.too_many(self.broken)

    def too_many(self, broken: dict[int, str]) -> UserError:
        """Return the error that ends it."""
        count, last = len(broken), next(reversed(broken.values()))
        return UserError(f"{count} of {len(self.uids)} objects are broken, the last: {last}", "data", CHECK_HINT)

    def _draw_order(self, epoch: int) -> np.ndarray:
        # Index 0 belongs to the order; items count from 1.
        return self.mixture.order(np.random.default_rng([self.seed, epoch, 0]))

    def _read(self, number: int, rng: np.random.Generator) -> Item:
        """Compose an item, with the same draws again where reading failed and may succeed."""
        start, failure = rng.bit_generator.state, None
        # One that failed before is tried when it is drawn again, without waiting for it.
        for wait in (None,) if number in self._unreadable else (*WAITS, None):
            try:
                item = self._compose(number, self._object(number), rng)
            except (UserError, OSError) as error:
                if wait is None or not may_pass(error):
                    self._unreadable.add(number)
                    raise
                failure = error
                time.sleep(wait)
                rng.bit_generator.state = start
            else:
                if failure is not None:
                    logger.warning("%s had to be read again: %s", self.uids[number], failure)
                return item

    def _compose(self, number: int, source: ObjaverseObject, rng: np.random.Generator) -> Item:
        config, region = self.config, self.config.render_region_size
        views = self._draw_views(source, rng)
        count = len(views)
        resolution = int(rng.integers(config.render_image_low, config.render_image_high + 1))
        anchors = rng.integers(0, resolution - region + 1, (count, 2))
        backgrounds = rng.choice(np.array(config.backgrounds, np.float32), count)

        cameras = Camera(np.stack([source.read_pose(view) for view in views]), source.intrinsics)
        if config.normalize_camera:
            cameras = cameras.normalized(config.normed_dist_to_center)
        planes = [self._planes(number, source, int(view)) for view in views]
        item = draw_item(
            planes[: self.sources],
            cameras[: self.sources],
            config.source_image_res,
            planes,
            cameras,
            resolution,
            anchors,
            region,
            backgrounds,
        )
        return self._completed(item, number, source, views)

    def _completed(self, item: Item, number: int, source: ObjaverseObject, views: np.ndarray) -> Item:
        """What a subclass knows of an object beyond its pictures, added to an item of these views."""
        return item

    def _draw_views(self, source: ObjaverseObject, rng: np.random.Generator) -> np.ndarray:
        """Draw side views + 1 different views, the source first."""
        config, count = self.config, self.config.sample_side_views + 1
        drawable = np.setdiff1d(np.arange(len(source)), config.held_out_views)
        if len(drawable) < count:
            what = f"the object has {len(drawable)} views to draw from, {count} are needed"
            raise UserError(what, source.folder, "lower sample_side_views")
        if not config.source_views:
            return rng.choice(drawable, count, replace=False)
        if (last := max(config.source_views)) >= len(source):
            what = f"no view {last} of source_views: the object has views 0 to {len(source) - 1}"
            raise UserError(what, source.folder, "give views that every object has")
        first = rng.choice(config.source_views)
        return np.append(first, rng.choice(drawable[drawable != first], count - 1, replace=False))

    def _planes(self, number: int, source: ObjaverseObject, view: int) -> np.ndarray:
        key = (number, view)
        planes = self._cache.get(key)
        if planes is None:
            planes = source.read_planes(view)
            self._cache.put(key, planes)
        return planes
