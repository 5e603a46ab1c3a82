"""Tensors put together into flat buckets: few large collective operations instead of one for every parameter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

BUCKET = 1 << 22
"""Numbers of a bucket, about: 16 MiB. docs/parallel.md has what sums of other sizes took."""


@dataclass(frozen=True)
class Bucket:
    """Some of the parameters, one behind another.

    Attributes:
        indices: of the parameters.
        sizes: numbers in each.
        kind: what they have in common.
    """

    indices: tuple[int, ...]
    sizes: tuple[int, ...]
    kind: Hashable = False

    @property
    def size(self) -> int:
        """Numbers in all."""
        return sum(self.sizes)


def make_buckets(sizes: Sequence[int], kinds: Sequence[Hashable] | None = None, limit: int = BUCKET) -> list[Bucket]:
    """Put parameters together in their order, up to `limit` numbers; a larger one is alone.

    Args:
        sizes: numbers of each parameter.
        kinds: a bucket holds parameters of one kind; one kind in all without it.
        limit: numbers of a bucket.
    """
    kinds = [False] * len(sizes) if kinds is None else kinds
    buckets = []
    order = sorted(range(len(sizes)), key=lambda i: kinds[i])
    for kind, indices in groupby(order, key=lambda i: kinds[i]):
        chosen: list[int] = []
        for i in indices:
            if chosen and sum(sizes[j] for j in chosen) + sizes[i] > limit:
                buckets.append(Bucket(tuple(chosen), tuple(sizes[j] for j in chosen), kind))
                chosen = []
            chosen.append(i)
        buckets.append(Bucket(tuple(chosen), tuple(sizes[j] for j in chosen), kind))
    return buckets


class GradientSum(nn.Cell):
    """Gradients summed over all workers, in float32.

    Args:
        parameters: the gradients' shapes.
        limit: numbers of a bucket.
    """

    def __init__(self, parameters: Sequence[Parameter], limit: int = BUCKET):
        super().__init__()
        buckets = make_buckets([p.size for p in parameters], limit=limit)
        # Without kinds the buckets keep the parameters' order, so that results line up.
        self.members = tuple(bucket.indices for bucket in buckets)
        self.sizes = tuple(bucket.sizes for bucket in buckets)
        self.shapes = tuple(p.shape for p in parameters)
        self.reduce = ops.AllReduce()

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Same shapes."""
        summed = []
        for members, sizes in zip(self.members, self.sizes):  # noqa: B905 - graph mode knows no strict
            total = self.reduce(flat(gradients, members))
            for i, part in zip(members, ops.split(total, sizes)):  # noqa: B905
                summed.append(part.reshape(self.shapes[i]))
        return tuple(summed)


class Shards(nn.Cell):
    """This worker's share of flat tensors, and whole tensors out of all shares.

    Args:
        parameters: what is cut up.
        buckets: how they are put together.
        rank: number of this worker.
        size: number of workers.
    """

    def __init__(self, parameters: Sequence[Parameter], buckets: Sequence[Bucket], rank: int, size: int):
        super().__init__()
        self.shapes = tuple(p.shape for p in parameters)
        self.members = tuple(bucket.indices for bucket in buckets)
        self.sizes = tuple(bucket.sizes for bucket in buckets)
        # Shares are of one length; the last one is filled up with zeros.
        self.lengths = tuple(-(-bucket.size // size) for bucket in buckets)
        self.padding = tuple(length * size - b.size for length, b in zip(self.lengths, buckets, strict=True))
        self.rank = rank
        self.gather = ops.AllGather()

    def construct(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Cut: one tensor a parameter -> this worker's share of every bucket."""
        shares = []
        for members, length, padding in zip(self.members, self.lengths, self.padding):  # noqa: B905
            whole = flat(tensors, members)
            if padding:
                whole = ops.concat((whole, ops.zeros(padding, ms.float32)))
            shares.append(whole[self.rank * length : (self.rank + 1) * length])
        return tuple(shares)

    def put_together(self, number: int, share: Tensor) -> dict[int, Tensor]:
        """Whole tensors of a bucket, by the number of their parameter, from the shares of all workers."""
        padding = (self.padding[number],) if self.padding[number] else ()
        parts = ops.split(self.gather(share), self.sizes[number] + padding)
        return {i: part.reshape(self.shapes[i]) for i, part in zip(self.members[number], parts, strict=False)}


def flat(tensors: Sequence[Tensor], members: Sequence[int]) -> Tensor:
    """Some tensors as one row of float32."""
    rows = []
    for i in members:
        rows.append(tensors[i].reshape(-1).astype(ms.float32))
    return ops.concat(rows)
