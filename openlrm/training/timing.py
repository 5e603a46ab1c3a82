"""Where the seconds of a run go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Timer:
    """Adds up the seconds of named parts.

    Example:
        >>> timer = Timer()
        >>> with timer("data"):
        ...     pass
    """

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start

    def __str__(self) -> str:
        """Parts with their seconds so far, the largest first."""
        ordered = sorted(self.seconds.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{part} {seconds:.2f}" for part, seconds in ordered)
