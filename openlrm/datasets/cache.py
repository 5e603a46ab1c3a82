"""Arrays kept in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np


class ByteCache:
    """The arrays used last, as many as fit."""

    def __init__(self, capacity: int) -> None:
        """Start empty.

        Args:
            capacity: bytes; 0 keeps nothing.
        """
        self.capacity = capacity
        self.used = 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of arrays kept."""
        return len(self._arrays)

    def get(self, key: Hashable) -> np.ndarray | None:
        """Return an array if it is kept, and count it as used."""
        if key in self._arrays:
            self._arrays.move_to_end(key)
        return self._arrays.get(key)

    def put(self, key: Hashable, array: np.ndarray) -> None:
        """Keep an array under a new key; those not used for longest make room. One that is too large is not kept."""
        if array.nbytes > self.capacity:
            return
        while self.used + array.nbytes > self.capacity:
            self.used -= self._arrays.popitem(last=False)[1].nbytes
        self._arrays[key] = array
        self.used += array.nbytes
