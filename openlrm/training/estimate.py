"""How long a run will take and what memory it needs, before and shortly after it starts."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

_PROCESS = 400 * 2**20
_GIB = 2**30


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes, by what needs them."""

    parameters: int
    optimiser: int
    transformer: int
    renderer: int
    deferred: bool

    @property
    def total(self) -> int:
        """Their sum and the process itself; deferred, transformer and renderer are never there together."""
        activations = (self.transformer, self.renderer)
        return _PROCESS + self.parameters + self.optimiser + (max if self.deferred else sum)(activations)

    def __str__(self) -> str:
        """In GiB."""
        parts = ("parameters", "optimiser", "transformer", "renderer")
        listed = ", ".join(f"{name} {getattr(self, name) / _GIB:.2f}" for name in parts)
        return f"about {self.total / _GIB:.1f} GiB ({listed})"


def peak_memory() -> float:
    """Most memory this process has had so far, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_GIB if sys.platform == "darwin" else 2**20)


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(4000)
        '1 h 07 min'
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.1f} days"
