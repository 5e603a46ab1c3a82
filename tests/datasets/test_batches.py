"""Batches: the same whoever makes them and wherever one starts."""

import logging
import os
import shutil

import numpy as np
import psutil
import pytest

from openlrm.datasets import DataConfig, Item, SubsetConfig, TrainItems, batches_per_epoch, collate, make_loader
from openlrm.errors import UserError


@pytest.fixture
def items(tmp_path, write_set):
    root = write_set(tmp_path / "set", "abcdefg")

    def make(seed=0, uids=None, **options):
        sizes = dict(source_image_res=18, render_image_low=10, render_image_high=16, render_region_size=8)
        subsets = [SubsetConfig([str(root)])]
        return TrainItems(DataConfig(subsets, sample_side_views=1, **sizes, **options), seed, uids)

    make.root = root
    return make


def one_of(batch):
    """The only item of a batch of one."""
    values = {name: getattr(batch, name) for name in vars(batch)}
    return Item(**{name: None if value is None else value[0] for name, value in values.items()})


def run(items, batch_size=2, workers=1, epoch=0, batch=0, epochs=3):
    return list(make_loader(items, batch_size, workers, epoch, batch, epochs))


def assert_same(first, second):
    assert [row[:2] for row in first] == [row[:2] for row in second]
    for (_, _, one), (_, _, other) in zip(first, second, strict=True):
        one, other = (dict(batch.arrays()) for batch in (one, other))
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture
def straight(items):
    return run(items())


def test_batches_are_stacked_items(items, straight):
    assert [row[:2] for row in straight] == [(epoch, batch) for epoch in range(3) for batch in range(3)]
    single = items()
    for epoch, number, batch in straight:
        arrays = dict(batch.arrays())
        for i in range(2):
            item = single.item(epoch, 2 * number + i)
            assert {name: array[i].tobytes() for name, array in arrays.items()} == {
                name: array.tobytes() for name, array in item.arrays()
            }
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_processes_that_train_together_divide_a_batch(items):
    parts = [list(make_loader(items(), 1, 1, 0, 0, 2, rank, 3)) for rank in range(3)]
    # Batches of one each: what they hold together, as a batch.
    joined = [(*rows[0][:2], collate([one_of(batch) for _, _, batch in rows])) for rows in zip(*parts, strict=True)]
    assert len(joined) == 4
    assert_same(joined, run(items(), batch_size=3, epochs=2))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core, one worker")
def test_workers_do_not_matter(items, straight):
    assert_same(run(items(), workers=2), straight)


@pytest.mark.parametrize(("epoch", "batch", "skipped"), [(0, 1, 1), (1, 2, 5), (2, 0, 6), (1, 3, 6), (2, 3, 9)])
def test_going_on_gives_what_would_have_come_next(items, straight, epoch, batch, skipped):
    assert_same(run(items(), epoch=epoch, batch=batch), straight[skipped:])


def test_more_workers_than_cores_and_going_on(items, straight):
    assert_same(run(items(), workers=64, epoch=1, batch=1), straight[4:])


def test_fewer_objects_than_a_batch(items):
    three = items(uids=["a", "b", "c"])
    assert batches_per_epoch(three, 4) == batches_per_epoch(three, 3) == 1
    assert batches_per_epoch(items(), 2) == 3
    batches = run(three, batch_size=4)
    assert [row[:2] for row in batches] == [(0, 0), (1, 0), (2, 0)]
    for _, _, batch in batches:
        assert len({image.tobytes() for image in batch.images}) == 4
    order = three._order(1)
    again = items(uids=["a", "b", "c"]).item(1, 3)
    np.testing.assert_array_equal(batches[1][2].images[3], again.images)
    assert order[3 % 3] == order[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_objects_reach_the_caller(items, workers, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("openlrm"), "propagate", True)
    for uid in "bd":
        shutil.rmtree(items.root / uid)
    one = items()
    assert_same(run(one, workers=workers), run(items(), workers=1))
    assert sorted(one.broken) == [1, 3]
    assert len([message for message in caplog.messages if "'b'" in message]) == 2  # once in each of the two runs
    with pytest.raises(UserError, match="2 of 7 objects are broken"):
        run(items(max_broken=1), workers=workers)
    for uid in "acefg":
        shutil.rmtree(items.root / uid)
    with pytest.raises(UserError, match="7 of 7 objects are broken"):
        run(items(), workers=workers)


def test_leaving_early_ends_the_workers(items, data_workers):
    before = data_workers()
    loader = make_loader(items(), 2, 2, 0, 0, 1000)
    next(loader)
    begun = data_workers() - before
    assert len(begun) == 2
    loader.close()
    with pytest.raises(StopIteration):
        next(loader)
    assert psutil.wait_procs(begun, timeout=10)[1] == []


@pytest.mark.parametrize("arguments", [(0, 1, 0, 0, 1), (2, -1, 0, 0, 1), (2, 1, -1, 0, 1), (2, 1, 0, 4, 1)])
def test_sizes_without_sense(items, arguments):
    with pytest.raises(ValueError, match="batch"):
        make_loader(items(), *arguments)
