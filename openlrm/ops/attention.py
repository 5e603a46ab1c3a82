"""Multi-head attention without the (L, L) matrix in memory.

softmax(Q K^T / sqrt(d)) V (Vaswani et al., 2017, eq. 1), computed over blocks of query rows whose scores stay in
the cache; the backward pass computes each block again instead of keeping it (Rabe and Staats, 2021).
On Ascend the fused flash-attention kernel does the same for float16 and bfloat16, all that it takes.

Layouts differ. PyNative on a CPU: compiled loops on (N, L, D). Ascend: the fused kernel, on (N, L, D) too; in float32,
or with heads that it does not know, the blocks. Graph mode on a CPU: keys, values and the result are feature-major,
(N, D, L), as `project_context` makes them and `project_output` takes them; heads are then a reshape and no tensor is
transposed (five copies of 3 M numbers a layer otherwise), and V^T P^T runs at 168 GFLOP/s where P V, with its 64
columns, runs at 109.
"""

import math
from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.device import host_kernels, on_ascend
from openlrm.ops.fused import attend_heads
from openlrm.ops.host.arrays import check_array, host_array, scratch
from openlrm.ops.host.sizes import WIDTH
from openlrm.ops.layers import linear, stack_samples, unstack_samples
from openlrm.ops.primitives import bias_add, matmul
from openlrm.utils.threads import spread

# Scores of one block: 3 M floats, 12 MB: 128 rows of 3072 keys, 8 heads. Larger blocks are up to 8 % slower here,
# smaller ones make larger graphs to compile.
_BLOCK_ELEMENTS = 3 * 1024 * 1024
# On an NPU, where there is no cache to stay in and a launch costs: 256 MB. Not measured: no NPU was at hand.
_DEVICE_BLOCK_ELEMENTS = 64 * 1024 * 1024


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
    """Attention by compiled loops, heads of 64 in PyNative on a CPU; scores of size L x L never exist."""

    def construct(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(N, Lq, D), (N, Lk, D), (N, Lk, D) -> (N, Lq, D), and for the gradient logarithms (N, D / 64, Lq)."""
        q, k, v = map(host_array, (q, k, v))
        n, queries, dim = q.shape
        check_array(k, "k", (n, None, dim))
        check_array(v, "v", k.shape)
        out, logarithms = np.empty(q.shape, np.float32), np.empty((n, dim // WIDTH, queries), np.float32)
        places = [(sample, head) for sample in range(n) for head in range(dim // WIDTH)]
        attend_heads([(*(x[_head(*at)] for x in (q, k, v, out)), logarithms[at]) for at in places])
        return Tensor.from_numpy(out), Tensor.from_numpy(logarithms)

    def bprop(self, q: Tensor, k: Tensor, v: Tensor, out: tuple, dout: tuple) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of q, k, v."""
        from openlrm.ops.host.attention import attend_gradient, padded

        q, k, v, out, logarithms, dout = map(host_array, (q, k, v, *out, dout[0]))
        dq, dk, dv = map(np.empty_like, (q, k, v))
        n, heads, _ = logarithms.shape

        def work(task: int) -> None:
            sample, head = task // heads, task % heads
            at = _head(sample, head)
            scores = (np.float32(WIDTH**-0.5), out[at], logarithms[sample, head], dout[at])
            room = scratch(5 * padded(k.shape[1]) + 2 * padded(q.shape[1]))
            attend_gradient(q[at], k[at], v[at], *scores, dq[at], dk[at], dv[at], room)

        spread(work, n * heads)
        return tuple(map(Tensor.from_numpy, (dq, dk, dv)))


def _head(sample: int, head: int) -> tuple[int, slice, slice]:
    return sample, slice(None), slice(head * WIDTH, (head + 1) * WIDTH)


# Made when first used: nothing of MindSpore may exist before a job of several workers is set up.
@cache
def _blocked(block_elements: int) -> BlockedAttention:
    return BlockedAttention(block_elements)


@cache
def _host_attention() -> HostAttention:
    return HostAttention()


def _token_major() -> bool:
    """Whether keys, values and results are (N, L, D); feature-major, (N, D, L), otherwise."""
    return on_ascend() or host_kernels()


def project_context(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Keys or values of a context, in the layout `attention` takes.

    Args:
        x: (N, L, D_in).
        weight: (D, D_in).
        bias: (D,) or None.

    Returns:
        Graph mode on a CPU (N, D, L), else (N, L, D).
    """
    if _token_major():
        n, length, width = x.shape
        return linear(x.reshape(n * length, width), weight, bias).reshape(n, length, weight.shape[0])
    y = stack_samples([matmul(transpose_b=True)(weight, sample) for sample in unstack_samples(x)])
    return y if bias is None else bias_add()(y, bias)


def project_keys_values(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Keys and values of a context, see `project_context`; weight (2 D, D_in) and bias (2 D,) hold both."""
    dim = weight.shape[0] // 2
    if _token_major():
        # Two products: halves of one would have to be copied apart.
        keys = project_context(x, weight[:dim], None if bias is None else bias[:dim])
        return keys, project_context(x, weight[dim:], None if bias is None else bias[dim:])
    return ops.split(project_context(x, weight, bias), dim, axis=1)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head scaled dot-product attention.

    Args:
        q: (N, Lq, D).
        k: keys as `project_context` gives them.
        v: values, the same.
        heads: number of heads; divides D.

    On Ascend the format of q chooses: half precision the fused kernel, float32 products in float32.

    Returns:
        What `project_output` takes: graph mode on a CPU (N, D, Lq), else (N, Lq, D); heads concatenated.
    """
    n, queries, dim = q.shape
    head_dim = dim // heads
    scale = 1 / math.sqrt(head_dim)
    if on_ascend() and q.dtype != ms.float32 and fits_fused(head_dim, heads):
        # Fused kernel of CANN, layout (batch, sequence, hidden). Not run yet: no NPU was at hand.
        k, v = k.astype(q.dtype), v.astype(q.dtype)
        return ops.flash_attention_score(q, k, v, heads, scalar_value=scale, input_layout="BSH")
    if host_kernels() and head_dim == WIDTH:
        return _host_attention()(q, k, v)[0]
    given = q.dtype
    if on_ascend():
        q, k, v = q.astype(ms.float32), k.astype(ms.float32), v.astype(ms.float32)
    if _token_major():
        k, v = k.transpose(0, 2, 1), v.transpose(0, 2, 1)
    # Scaling after the transposition makes the one contiguous copy that the products need.
    q = q.reshape(n, queries, heads, head_dim).transpose(0, 2, 1, 3) * scale
    out = _blocked(_DEVICE_BLOCK_ELEMENTS if on_ascend() else _BLOCK_ELEMENTS)(
        q.reshape(n * heads, queries, head_dim),
        k.reshape(n * heads, head_dim, k.shape[2]),
        v.reshape(n * heads, head_dim, v.shape[2]),
    )
    out = out.reshape(n, dim, queries).astype(given)
    return out.transpose(0, 2, 1) if _token_major() else out


def fits_fused(head_dim: int, heads: int) -> bool:
    """Whether the fused kernel knows heads of this size and number (`mindspore.ops.flash_attention_score`)."""
    return head_dim % 16 == 0 and head_dim <= 512 and heads <= 256


def project_output(out: Tensor, weight: Tensor) -> Tensor:
    """Output projection of an `attention` result: weight (D_out, D) -> (N, Lq, D_out)."""
    if _token_major():
        n, length, dim = out.shape
        return linear(out.reshape(n * length, dim), weight).reshape(n, length, weight.shape[0])
    return stack_samples([matmul(True, True)(sample, weight) for sample in unstack_samples(out)])


def attend_tokens(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """`attention` of queries, keys and values that are all (N, L, D), on every device; the result too.

    For keys that are changed between their projection and the scores, as rotary positions do.
    """
    if not _token_major():
        k, v = k.transpose(0, 2, 1), v.transpose(0, 2, 1)
    out = attention(q, k, v, heads)
    return out if _token_major() else out.transpose(0, 2, 1)
