"""Training on rendered objects: what tasks of every family that learns from pictures of objects share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from mindspore import Tensor

from openlrm.cameras import Camera
from openlrm.datasets import (
    Item,
    TrainItems,
    batches_per_epoch,
    make_loader,
)
from openlrm.errors import UserError
from openlrm.parallel import World
from openlrm.representations.base import Representation
from openlrm.training.config import ObjectRunConfig
from openlrm.training.held_out import choose_validation
from openlrm.training.task import Task
from openlrm.training.validation import Validation, Validator
from openlrm.training.watch import Look, look_at


class ObjectTask(Task):
    """A task whose batches are `openlrm.datasets.Item` and whose model makes representations.

    Args:
        config: all options.
        world: the workers; a batch is this one's slice of all their batches together.
        sources: source views the model is given of an object.

    Raises:
        UserError: data that cannot be read, or nothing left to train on.
    """

    def __init__(self, config: ObjectRunConfig, world: World, sources: int = 1) -> None:
        super().__init__()
        self.config, self.world = config, world
        self.items = training_items(config, sources)
        self.per_epoch = batches_per_epoch(self.items, world.size * config.train.batch_size)
        self.objects = self.items.uids
        self.roots = [root for subset in config.data.subsets for root in subset.root_dirs]
        self._validator = make_validator(config, self.items, sources)

    @abstractmethod
    def reconstruct(self, pictures: np.ndarray, cameras: Camera) -> Representation:
        """What the model, as it is, makes of pictures (K, H, W, 4) with cameras (K,)."""

    def render(self, batch: Item, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """What the model makes of a batch, without a gradient, for the collapse watch; None where there is no watch.

        Returns:
            What stands between pictures and renders, objects first; colours (N, M, 3, R, R); opacity (N, M, 1, R, R).
        """
        return None

    def batches(self, epoch: int, batch: int, epochs: int) -> Iterator[tuple[int, int, Item]]:
        """Batches from a position on; see `openlrm.datasets.make_loader`."""
        cfg, world = self.config, self.world
        sizes = (cfg.train.batch_size, cfg.num_parallel_workers)
        return make_loader(self.items, *sizes, epoch, batch, epochs, world.rank, world.size)

    def pictures(self, batch: Item, preview: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Regions asked for and regions rendered: the preview is (N, M, 3, R, R)."""
        return batch.images, preview.asnumpy()

    def watch(self, batch: Item, step: int) -> Look | None:
        """Look for a collapse, by `render`."""
        return look_at(self.render, batch, step, exchange=len(self.objects) > 1)

    @property
    def validates(self) -> bool:
        """Whether there are objects to measure."""
        return self._validator is not None

    def validate(self) -> Validation:
        """Measure the model as it is."""
        return self._validator(self.reconstruct)

    def facts(self) -> list[str]:
        """What is measured in validation."""
        if self._validator is None:
            return []
        uids = self._validator.uids
        return [f"validation: {len(uids)} {self._validator.kind} objects, {uids[0]} first"]


def training_items(config: ObjectRunConfig, sources: int) -> TrainItems:
    """The training data without the objects that are kept for validation.

    Raises:
        UserError: nothing is left.
    """
    items = TrainItems(config.data, config.seed, sources=sources)
    held_out = set(config.val.val_uids)
    wanted = [uid for uid in items.uids if uid not in held_out]
    if config.train.overfit:
        wanted = wanted[: config.train.overfit]
    if not wanted:
        raise UserError("no training objects are left beside val.val_uids", "config")
    return items if len(wanted) == len(items.uids) else TrainItems(config.data, config.seed, wanted, sources)


def make_validator(config: ObjectRunConfig, items: TrainItems, sources: int) -> Validator | None:
    """The validation that the options ask for; None for none."""
    val = config.val
    if not val.val_interval and not val.stop_drop:
        return None
    objects, kind = choose_validation(config.data, val, items, overfit=config.train.overfit > 0)
    return Validator(objects, val.val_objects, val.val_size, kind, sources)
