"""Signals that end a run after the step, on all workers together."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from openlrm.parallel import World
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)


class StopRequest:
    """SIGINT and SIGTERM end a run after the step; a second SIGINT at once.

    Args:
        world: the workers; a signal to one of them is one to all.

    Attributes:
        signal: number of the signal, once all workers know of it.
    """

    def __init__(self, world: World):
        self.world = world
        self.signal: int | None = None
        self._noted: int | None = None

    def agreed(self) -> bool:
        """Whether the run is to end now; every worker asks between the same steps."""
        # MindSpore's first kernel puts its own handler there, which makes SIGTERM of SIGINT.
        signal.signal(signal.SIGINT, self._note)
        if self.world.any(self._noted is not None):
            self.signal = self._noted or signal.SIGTERM
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of signals, for the length of the block."""
        earlier = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        if self._noted is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._noted = number
        logger.warning("signal %d: the run stops after this step", number)
