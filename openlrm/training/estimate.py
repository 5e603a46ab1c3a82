"""How long a run will take and what memory it needs, before and shortly after it starts."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Parameter

from openlrm.models.lrm import LRMConfig

# Floats kept for the backward pass and their gradients, fitted to the peaks of the small model on a CPU: 11.6 GiB
# direct, 4.5 GiB deferred. Per token and layer: norms, q, k, v, attention, residuals and the 4x wide MLP with its
# activation; per sample on a ray: corner weights, features of the planes, three hidden layers, outputs.
_PER_TOKEN_WIDTHS = 46
_PER_SAMPLE_EXTRA = 64 * 6 + 60
_SAMPLE_COPIES = 2
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


def estimate_memory(
    model: LRMConfig,
    everything: int,
    trainable: Sequence[Parameter],
    objects: int,
    rays: int,
    copies: float,
    recompute: bool,
    deferred: bool,
) -> MemoryEstimate:
    """Estimate the peak of a training step in float32.

    Args:
        model: its sizes.
        everything: number of all parameters.
        trainable: parameters that are trained.
        objects: objects of a batch.
        rays: rays of an object in one backward pass; 0 when the renderer keeps nothing for it.
        copies: arrays the size of the trained parameters beside them (gradient, two moments, average, sums); a share
            of one where workers divide it.
        recompute: whether layers keep their inputs alone.
        deferred: whether `rays` are those of a square, gone through one by one.
    """
    trained = sum(p.size for p in trainable)
    tokens = 3 * model.triplane_low_res**2
    width = model.transformer_dim
    kept = model.transformer_layers + _PER_TOKEN_WIDTHS if recompute else model.transformer_layers * _PER_TOKEN_WIDTHS
    samples = objects * rays * model.rendering_samples_per_ray
    return MemoryEstimate(
        parameters=4 * everything,
        optimiser=round(4 * trained * copies),
        transformer=4 * objects * tokens * width * kept,
        renderer=4 * samples * _SAMPLE_COPIES * (3 * model.triplane_dim + _PER_SAMPLE_EXTRA),
        deferred=deferred,
    )


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
