"""Batches of training items, made by worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import numpy as np

from openlrm.datasets.items import ITEM_KEYS, TrainItems

_STRETCH = 1 << 16
"""Batches a pipeline is set up for; the numbers of all of them are held in memory."""

_STATUS = "status"


def batches_per_epoch(items: TrainItems, batch_size: int) -> int:
    """Return the number of batches in an epoch.

    Batches are full: objects left over at the end of an epoch are left out (every epoch has another order). If
    there are fewer objects than a batch takes, they come up repeatedly in it, with other draws.
    """
    return max(1, len(items) // batch_size)


def make_loader(
    items: TrainItems, batch_size: int, num_workers: int, start_epoch: int, start_batch: int, epochs: int
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
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

    Returns:
        An iterator of epoch, index of the batch in it, and the arrays of `TrainItems.item` with a leading batch
        axis. Iterating raises UserError when too many objects are broken, and RuntimeError when a worker was killed.
        Closing it ends the workers, within some five seconds.

    Raises:
        ValueError: sizes that make no sense.
    """
    if batch_size < 1 or num_workers < 0:
        raise ValueError(f"no batches of {batch_size} items by {num_workers} workers")
    per_epoch = batches_per_epoch(items, batch_size)
    if start_epoch < 0 or not 0 <= start_batch <= per_epoch:
        raise ValueError(f"no batch {start_batch} of {per_epoch} in epoch {start_epoch}")
    return _iterate(items, batch_size, num_workers, start_epoch * per_epoch + start_batch, epochs * per_epoch)


def _iterate(
    items: TrainItems, batch_size: int, num_workers: int, first: int, end: int
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    for start in range(first, end, _STRETCH):
        source = _Batches(items, batch_size, start, min(start + _STRETCH, end))
        iterator = _pipeline(source, num_workers)
        step = start - 1
        try:
            for step, row in enumerate(iterator, start):
                batch = dict(zip(source.columns, row, strict=True))
                status = json.loads(batch.pop(_STATUS).tobytes())
                broken = {int(number): reason for number, reason in status["broken"].items()}
                items.report(broken)
                if not status["complete"]:
                    raise items.too_many(broken)
                yield *divmod(step, source.per_epoch), batch
            # A worker that was killed ends the pipeline without a word; training must not take that for its end.
            if step + 1 < source.end:
                raise RuntimeError(f"the data workers ended after {step + 1 - first} of {end - first} batches")
        finally:
            iterator.stop()


def _pipeline(source: _Batches, num_workers: int):
    # Imported here: everything else in this package does without mindspore.
    import mindspore.dataset as ds

    workers = max(1, min(num_workers, os.cpu_count() or 1))
    # The queue of every worker holds as many batches; the default of 16 can be gigabytes.
    earlier = ds.config.get_prefetch_size()
    ds.config.set_prefetch_size(2)
    try:
        dataset = ds.GeneratorDataset(
            source, source.columns, shuffle=False, num_parallel_workers=workers, python_multiprocessing=workers > 1
        )
        return dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    finally:
        ds.config.set_prefetch_size(earlier)


class _Batches:
    """Batches start .. end - 1, counted through all epochs, by their position."""

    def __init__(self, items: TrainItems, batch_size: int, start: int, end: int) -> None:
        self.items = items
        self.batch_size = batch_size
        self.start = start
        self.end = end
        self.per_epoch = batches_per_epoch(items, batch_size)
        self.columns = [*ITEM_KEYS, _STATUS]

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]:
        epoch, batch = divmod(self.start + int(position), self.per_epoch)
        drawn, broken = [], {}
        for index in range(batch * self.batch_size, (batch + 1) * self.batch_size):
            drawn.append(self.items.draw(epoch, index))
            broken |= drawn[-1].broken
            if drawn[-1].item is None:
                break
        complete = drawn[-1].item is not None
        # Reports and failure travel as data: an exception in a worker arrives as a RuntimeError without its type.
        status = json.dumps({"broken": broken, "complete": complete}).encode()
        if complete:
            arrays = [np.stack([one.item[key] for one in drawn]) for key in ITEM_KEYS]
        else:
            arrays = [np.zeros(1, np.float32)] * len(ITEM_KEYS)
        return *arrays, np.frombuffer(status, np.uint8)
