"""Multi-head attention without the (L, L) matrix in memory.

softmax(Q K^T / sqrt(d)) V (Vaswani et al., 2017, eq. 1), computed over blocks of query rows whose scores stay in
the cache; the backward pass computes each block again instead of keeping it (Rabe and Staats, 2021).
On Ascend the fused flash-attention kernel does the same.

Layouts differ: on a CPU keys, values and the result are kept feature-major, (N, D, L), as `project_context` makes
them and `project_output` takes them. Heads are then a reshape and no tensor is transposed (five copies of 3 M
numbers a layer otherwise); V^T P^T also runs at 168 GFLOP/s where P V, with its 64 columns, runs at 109.
On Ascend everything is (N, L, D).
"""

import math

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.device import host_kernels, on_ascend
from openlrm.ops.host import host_array, host_threads, spread
from openlrm.ops.layers import stack_samples, unstack_samples

# Scores of one block: 3 M floats, 12 MB: 128 rows of 3072 keys, 8 heads. Larger blocks are up to 8 % slower here,
# smaller ones make larger graphs to compile.
_BLOCK_ELEMENTS = 3 * 1024 * 1024


@ops.constexpr
def _block_rows(batch: int, keys: int, queries: int, elements: int) -> int:
    """Query rows per block, so that a block's scores fit `elements`."""
    return max(1, min(queries, elements // (batch * keys)))


class BlockedAttention(nn.Cell):
    """Attention of B heads with recomputation in `bprop`; queries come scaled by 1/sqrt(d)."""

    def __init__(self, block_elements: int = _BLOCK_ELEMENTS):
        super().__init__()
        self.block_elements = block_elements
        self.nn = ops.BatchMatMul()
        self.nt = ops.BatchMatMul(transpose_b=True)
        self.tn = ops.BatchMatMul(transpose_a=True)
        self.softmax = ops.Softmax(-1)

    def construct(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, Lq, d), (B, d, Lk), (B, d, Lk) -> (B, d, Lq)."""
        batch, queries, _ = q.shape
        rows = _block_rows(batch, k.shape[2], queries, self.block_elements)
        blocks = []
        for start in range(0, queries, rows):
            p = self.softmax(self.nn(q[:, start : start + rows], k))
            blocks.append(self.nt(v, p))
        return blocks[0] if len(blocks) == 1 else ops.concat(blocks, axis=2)

    def bprop(self, q: Tensor, k: Tensor, v: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of q, k, v, block by block: dS = P * (dO V^T - rowsum(dO * O)).

        The row sums go into the product as one more feature, against a row of ones: subtracting them by
        broadcasting would cost as much as the product.
        """
        batch, queries, _ = q.shape
        keys = k.shape[2]
        rows = _block_rows(batch, keys, queries, self.block_elements)
        dout_sums = ops.concat([dout, -(dout * out).sum(1, keepdims=True)], axis=1)
        v_ones = ops.concat([v, ops.ones((batch, 1, keys), v.dtype)], axis=1)
        dq, dk, dv = [], ops.zeros_like(k), ops.zeros_like(v)
        for start in range(0, queries, rows):
            q_block, dout_block = q[:, start : start + rows], dout_sums[:, :, start : start + rows]
            p = self.softmax(self.nn(q_block, k))
            dv = dv + self.nn(dout_block[:, :-1], p)
            ds = p * self.tn(dout_block, v_ones)
            dq.append(self.nt(ds, k))
            dk = dk + self.tn(q_block, ds)
        return (dq[0] if len(dq) == 1 else ops.concat(dq, axis=1)), dk, dv


class HostAttention(nn.Cell):
    """The same by compiled loops, for heads of 64 in PyNative on a CPU."""

    def construct(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Lq, 64), (B, 64, Lk), (B, 64, Lk) -> (B, 64, Lq), and logarithms (B, Lq) for the gradient."""
        from openlrm.ops.host_attention import WIDTH, attend

        q, k, v = map(host_array, (q, k, v))
        batch, queries, width = q.shape
        out, logarithms = np.empty((batch, width, queries), np.float32), np.empty((batch, queries), np.float32)
        # Keys and values are laid out anew in every task, so few: two a thread, or one a head.
        rows = -(-queries * batch // max(batch, 2 * host_threads()))
        rows = -(-rows // WIDTH) * WIDTH
        parts = -(-queries // rows)

        def work(task: int) -> None:
            head, start = task // parts, task % parts * rows
            attend(q[head], k[head], v[head], start, min(start + rows, queries), out[head], logarithms[head])

        spread(work, batch * parts)
        return Tensor.from_numpy(out), Tensor.from_numpy(logarithms)

    def bprop(self, q: Tensor, k: Tensor, v: Tensor, out: tuple, dout: tuple) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of q, k, v."""
        from openlrm.ops.host_attention import attend_gradient

        arrays = [host_array(x) for x in (q, k, v, *out, dout[0])]
        gradients = [np.empty(x.shape, np.float32) for x in arrays[:3]]
        spread(lambda head: attend_gradient(*(x[head] for x in (*arrays, *gradients))), len(arrays[0]))
        return tuple(map(Tensor.from_numpy, gradients))


_blocked = BlockedAttention()
_host_attention = HostAttention()
_nt = ops.MatMul(transpose_b=True)
_tt = ops.MatMul(transpose_a=True, transpose_b=True)


def project_context(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Keys or values (or both, one after the other) of a context, in the layout `attention` takes.

    Args:
        x: (N, L, D_in).
        weight: (D, D_in).
        bias: (D,) or None.

    Returns:
        CPU (N, D, L), Ascend (N, L, D).
    """
    n, length, width = x.shape
    if on_ascend():
        y = _nt(x.reshape(n * length, width), weight).reshape(n, length, weight.shape[0])
        return y if bias is None else y + bias
    y = stack_samples([_nt(weight, sample) for sample in unstack_samples(x)])
    return y if bias is None else ops.bias_add(y, bias)


def split_context(x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Cut the features of a `project_context` result into equal parts."""
    return ops.split(x, x.shape[2 if on_ascend() else 1] // parts, axis=2 if on_ascend() else 1)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head scaled dot-product attention.

    Args:
        q: (N, Lq, D).
        k: keys as `project_context` gives them.
        v: values, the same.
        heads: number of heads; divides D.

    Returns:
        What `project_output` takes: CPU (N, D, Lq), Ascend (N, Lq, D); heads concatenated.
    """
    n, queries, dim = q.shape
    head_dim = dim // heads
    scale = 1 / math.sqrt(head_dim)
    if on_ascend():
        # Fused kernel of CANN, layout (batch, sequence, hidden). Not run yet: no NPU was at hand.
        return ops.flash_attention_score(q, k, v, heads, scalar_value=scale, input_layout="BSH")
    # Scaling after the transposition makes the one contiguous copy that the products need.
    q = q.reshape(n, queries, heads, head_dim).transpose(0, 2, 1, 3) * scale
    q = q.reshape(n * heads, queries, head_dim)
    k = k.reshape(n * heads, head_dim, k.shape[2])
    v = v.reshape(n * heads, head_dim, v.shape[2])
    if host_kernels() and head_dim == 64:
        out, _ = _host_attention(q, k, v)
    else:
        out = _blocked(q, k, v)
    return out.reshape(n, dim, queries)


def project_output(out: Tensor, weight: Tensor) -> Tensor:
    """Output projection of an `attention` result: weight (D_out, D) -> (N, Lq, D_out)."""
    if on_ascend():
        n, length, dim = out.shape
        return _nt(out.reshape(n * length, dim), weight).reshape(n, length, weight.shape[0])
    return stack_samples([_tt(sample, weight) for sample in unstack_samples(out)])
