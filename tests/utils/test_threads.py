"""Threads that share work: nested, failing and after a fork."""

import multiprocessing
import threading
import time

import pytest

from openlrm.utils import threads
from openlrm.utils.threads import spread, spread_ranges


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """A pool of its own for each test, whatever the machine has."""
    monkeypatch.setattr(threads, "host_threads", lambda: 3)
    threads._pool.cache_clear()
    yield
    threads._pool.cache_clear()


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 100])
def test_every_task_is_done_once(tasks):
    done = []
    spread(done.append, tasks)
    assert sorted(done) == list(range(tasks))


@pytest.mark.parametrize(("length", "step"), [(0, 4), (3, 4), (8, 4), (9, 4)])
def test_ranges_cover_the_length(length, step):
    done = []
    spread_ranges(lambda first, last: done.extend(range(first, last)), length, step)
    assert sorted(done) == list(range(length))


def test_work_is_shared():
    """Three tasks that wait for one another end only if three threads have them."""
    together = threading.Barrier(3, timeout=60)
    spread(lambda task: together.wait(), 3)


@pytest.mark.parametrize("depth", [2, 3])
def test_nested_work_ends(depth):
    done = []

    def work(level: int) -> None:
        if level == 0:
            done.append(level)
        else:
            spread(lambda _: work(level - 1), 4)

    worker = threading.Thread(target=work, args=(depth,), daemon=True)
    worker.start()
    worker.join(60)
    assert not worker.is_alive(), "nested work waits for itself"
    assert len(done) == 4**depth


def test_callers_at_the_same_time():
    done = []
    callers = [threading.Thread(target=spread, args=(done.append, 50)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sorted(done) == sorted(8 * list(range(50)))


@pytest.mark.parametrize("who", ["caller", "pool"])
def test_nothing_goes_on_after_a_failure(who):
    """The failure is raised when the tasks that had begun are over, and no other begins."""
    caller, begun, ended = threading.current_thread(), [], []
    first_three, failing = threading.Barrier(3, timeout=60), threading.Semaphore(1)

    def work(task: int) -> None:
        begun.append(task)
        first_three.wait()
        by_caller = threading.current_thread() is caller
        if by_caller == (who == "caller") and failing.acquire(blocking=False):
            raise ValueError("a task failed")
        time.sleep(0.2)  # the failure comes first
        ended.append(task)

    with pytest.raises(ValueError, match="a task failed"):
        spread(work, 1000)
    assert len(begun) == 3 and len(ended) == 2
    time.sleep(0.3)
    assert len(begun) == 3 and len(ended) == 2


def test_the_pool_serves_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        spread(lambda task: 1 // task, 5)
    done = []
    spread(done.append, 5)
    assert sorted(done) == [0, 1, 2, 3, 4]


def _in_child(answers) -> None:
    together = threading.Barrier(3, timeout=60)
    spread(lambda task: together.wait(), 3)
    answers.put("done")


def test_work_in_a_forked_process():
    spread(lambda task: None, 3)  # the parent's pool has its threads
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(answers,), daemon=True)
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive, "the child waits for threads that the fork did not copy"
    assert answers.get() == "done"
