"""Sorting and searching along rays; no gradient flows through an order or an index."""

import mindspore as ms
from mindspore import Tensor, ops

from openlrm.ops.device import on_ascend


def sort_by_depth(depths: Tensor) -> tuple[Tensor, Tensor]:
    """Sort (R, S) depths of each ray, near to far.

    Returns:
        sorted depths (R, S) and the int32 order (R, S) that `take_along_rays` takes.
    """
    if on_ascend():
        values, order = ops.sort(depths, axis=1)
        return values, order.astype(ms.int32)
    # topk of the negated depths: 92 ms where sort takes 163 (36,864 rays x 96).
    values, order = ops.topk(-depths, depths.shape[1])
    return -values, order.astype(ms.int32)


def take_along_rays(values: Tensor, order: Tensor) -> Tensor:
    """values[r, order[r, s]] as one row gather: (R, S, F), (R, K) int32 -> (R, K, F)."""
    rays, samples, features = values.shape
    rows = order + (ops.arange(rays) * samples).astype(ms.int32).reshape(rays, 1)
    return ops.gather(values.reshape(rays * samples, features), rows, 0)


def searchsorted_right(sorted_values: Tensor, queries: Tensor) -> Tensor:
    """For each query the index of the first entry greater than it: (R, K), (R, Q) -> (R, Q) int32 in 0..K."""
    return ops.searchsorted(sorted_values, queries, right=True).astype(ms.int32)
