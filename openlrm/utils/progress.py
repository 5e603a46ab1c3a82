"""Progress of work that is counted in points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm import tqdm

Progress = Callable[[int, int], None]
"""(points done, points known to be needed so far); they are equal at the end."""

Bars = Callable[[str], AbstractContextManager[Progress | None]]
"""Name of a stage -> a block in which its progress is told."""


@contextmanager
def point_bar(name: str) -> Iterator[Progress]:
    """A bar with a rate on standard error."""
    with tqdm(desc=name, unit="point", unit_scale=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


@contextmanager
def no_bar(name: str) -> Iterator[None]:
    """Nothing is told."""
    yield None
