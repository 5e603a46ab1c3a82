"""Memory of an LRM's training step, from its sizes."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Parameter

from openlrm.families.lrm.config import LRMConfig
from openlrm.training.estimate import MemoryEstimate

# Floats kept for the backward pass and their gradients, fitted to the peaks of the small model on a CPU: 11.6 GiB
# direct, 4.5 GiB deferred. Per token and layer: norms, q, k, v, attention, residuals and the 4x wide MLP with its
# activation; per sample on a ray: corner weights, features of the planes, three hidden layers, outputs.
_PER_TOKEN_WIDTHS = 46
_PER_SAMPLE_EXTRA = 64 * 6 + 60
_SAMPLE_COPIES = 2


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
