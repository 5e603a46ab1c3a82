"""AdamW whose state is spread over the workers (ZeRO, stage 1; Rajbhandari et al., 2020).

Every worker keeps the moments of its share of the parameters, updates that share, and all put their shares together.
The arithmetic is `AdamW`'s, and so is the saved state: a run goes on in either mode, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor

from openlrm.ops import assign
from openlrm.parallel import World
from openlrm.parallel.buckets import BUCKET, Shards, make_buckets
from openlrm.parallel.world import lost_workers_told
from openlrm.training.optim import AdamW, decays, variable


class ShardedAdamW:
    """`AdamW` over all workers; every one makes the same calls.

    Args:
        parameters: what is optimised; names are unique, values the same on every worker.
        betas: decay of the first and second moment.
        eps: added to the root of the bias-corrected second moment.
        weight_decay: share of a parameter taken off per unit of learning rate, see `decays`.
        world: the workers.
        limit: numbers of a bucket, see `openlrm.parallel.buckets`.
        factors: of the learning rate, one per parameter; 1 without them.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: Sequence[float],
        eps: float,
        weight_decay: float,
        world: World,
        limit: int = BUCKET,
        factors: Sequence[float] | None = None,
    ):
        self.parameters = list(parameters)
        factors = [1.0] * len(parameters) if factors is None else factors
        # Decay and rate are a whole bucket's, so that a share is one parameter to AdamW.
        kinds = list(zip(map(decays, parameters), factors, strict=True))
        buckets = make_buckets([p.size for p in parameters], kinds, limit)
        self.shards = Shards(parameters, buckets, world.rank, world.size)
        shares = self.shards(tuple(p.value() for p in parameters))
        self.weights = [Parameter(_own(share), name=f"share{i}") for i, share in enumerate(shares)]
        decayed, factors = zip(*(bucket.kind for bucket in buckets), strict=True)
        self.inner = AdamW(self.weights, betas, eps, weight_decay, decayed, factors)

    def step(self, gradients: tuple[Tensor, ...], rate: float, step: int) -> None:
        """Change the parameters; arguments as `AdamW.step`'s, gradients the same on every worker."""
        self.inner.step(variable(self.shards(gradients)), rate, step)
        for number, share in enumerate(self.weights):
            for i, value in self._whole(number, share).items():
                assign(self.parameters[i], value)

    def state(self) -> dict[str, np.ndarray]:
        """Moments of all parameters, by the names `AdamW` gives them."""
        state = {}
        for kind, shares in (("m", self.inner.first), ("v", self.inner.second)):
            for number, share in enumerate(shares):
                for i, value in self._whole(number, share).items():
                    state[f"optimizer.{kind}.{self.parameters[i].name}"] = value.asnumpy()
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take this worker's share of what `state` gave; the parameters have their values already."""
        self._take([p.value() for p in self.parameters], self.weights)
        for kind, shares in (("m", self.inner.first), ("v", self.inner.second)):
            self._take([Tensor(state[f"optimizer.{kind}.{p.name}"]) for p in self.parameters], shares)

    def _take(self, tensors: Sequence[Tensor], shares: Sequence[Parameter]) -> None:
        for share, value in zip(shares, self.shards(tuple(tensors)), strict=True):
            share.set_data(_own(value))

    def _whole(self, number: int, share: Parameter) -> dict[int, Tensor]:
        with lost_workers_told():
            return self.shards.put_together(number, share.value())


def _own(share: Tensor) -> Tensor:
    """Memory of its own: a slice in PyNative is a view, which keeps the whole and cannot be assigned to."""
    return Tensor(np.array(share.asnumpy()))
