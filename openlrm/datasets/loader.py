"""Batches of training items, made by worker processes."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

from openlrm.datasets.item import Item, collate
from openlrm.datasets.items import TrainItems
from openlrm.datasets.workers import ahead


def batches_per_epoch(items: TrainItems, batch_size: int) -> int:
    """Return the number of batches in an epoch.

    Batches are full: objects left over at the end of an epoch are left out (every epoch has another order). If
    there are fewer objects than a batch takes, they come up repeatedly in it, with other draws.
    """
    return max(1, len(items) // batch_size)


def make_loader(
    items: TrainItems,
    batch_size: int,
    num_workers: int,
    start_epoch: int,
    start_batch: int,
    epochs: int,
    rank: int = 0,
    size: int = 1,
) -> Iterator[tuple[int, int, Item]]:
    """Go through batches from a given one on.

    A batch depends on the seed of the items, its epoch and its index: the number of workers does not matter, and
    going on at (epoch, batch) gives what would have come next.

    Args:
        items: to draw from; learns of broken objects and logs them.
        batch_size: items in a batch.
        num_workers: worker processes, at most one per core; with 0 or 1 a thread of this process does it.
        start_epoch: epoch of the first batch, counted from 0.
        start_batch: its index in that epoch; one past the end means the next epoch.
        epochs: number of epochs in all, those before `start_epoch` included.
        rank: number of this process among those that train together: it gets its slice of their batch.
        size: how many those are; their batch has `size * batch_size` items, and epochs count such batches.

    Returns:
        An iterator of epoch, index of the batch in it, and the batch: `collate` of its items. Iterating raises
        UserError when too many objects are broken. A worker that dies is replaced and its batch made again; UserError
        when that happens to one batch three times. Closing it ends the workers.

    Raises:
        ValueError: sizes that make no sense.
    """
    if batch_size < 1 or num_workers < 0:
        raise ValueError(f"no batches of {batch_size} items by {num_workers} workers")
    per_epoch = batches_per_epoch(items, size * batch_size)
    if start_epoch < 0 or not 0 <= start_batch <= per_epoch:
        raise ValueError(f"no batch {start_batch} of {per_epoch} in epoch {start_epoch}")
    make = functools.partial(_make, items, batch_size, per_epoch, rank, size)
    workers = max(1, min(num_workers, os.cpu_count() or 1))
    made = ahead(make, start_epoch * per_epoch + start_batch, epochs * per_epoch, workers)
    return _iterate(items, made, start_epoch * per_epoch + start_batch, per_epoch)


def _iterate(items: TrainItems, made: Iterator, first: int, per_epoch: int) -> Iterator[tuple[int, int, Item]]:
    try:
        for number, (batch, broken) in enumerate(made, first):
            items.report(broken)
            if batch is None:
                raise items.too_many(broken)
            yield *divmod(number, per_epoch), batch
    finally:
        made.close()


def _make(
    items: TrainItems, batch_size: int, per_epoch: int, rank: int, size: int, number: int
) -> tuple[Item | None, dict[int, str]]:
    """Return a batch, counted through all epochs, and the broken objects met; None with too many."""
    epoch, batch = divmod(number, per_epoch)
    drawn, broken = [], {}
    first = (batch * size + rank) * batch_size
    for index in range(first, first + batch_size):
        one = items.draw(epoch, index)
        # In a worker this is its own copy of the items: the caller reports what was met.
        broken |= one.broken
        if one.item is None:
            return None, broken
        drawn.append(one.item)
    return collate(drawn), broken
