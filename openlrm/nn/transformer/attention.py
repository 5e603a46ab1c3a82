"""Multi-head attention without biases, in the parameter layout of torch.nn.MultiheadAttention."""

import math

import mindspore as ms
from mindspore import Parameter, Tensor
from mindspore.common.initializer import Uniform, initializer

from openlrm.ops import Linear, ProductCell, attention, linear, project_context, project_keys_values, project_output


class MultiHeadAttention(ProductCell):
    """Attention of queries (N, L, dim) over a context (N, K, context_dim).

    One packed `in_proj_weight` (3 dim, dim) when both widths are equal, else `q/k/v_proj_weight`: the released
    checkpoints use both forms.
    """

    products = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")

    def __init__(self, dim: int, heads: int, context_dim: int | None = None):
        super().__init__()
        context_dim = context_dim or dim
        self.dim, self.heads, self.context_dim = dim, heads, context_dim
        self.packed = context_dim == dim
        # Xavier uniform, as the packed layout is initialised by the framework the layout comes from.
        if self.packed:
            self.in_proj_weight = _projection(3 * dim, dim)
        else:
            self.q_proj_weight = _projection(dim, dim)
            self.k_proj_weight = _projection(dim, context_dim)
            self.v_proj_weight = _projection(dim, context_dim)
        self.out_proj = Linear(dim, dim, bias=False)
        self.adapter = None  # or a Cell, see openlrm.nn.transformer.lora

    def construct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend; `context=None` is self-attention.

        Args:
            x: (N, L, dim).
            context: (N, K, context_dim) or None.

        Returns:
            (N, L, dim).
        """
        dim = self.dim
        x = self.half(x)
        context = x if context is None else self.half(context)
        if self.packed:
            weight = self.half_weight(self.in_proj_weight)
            q_weight, kv_weight = weight[:dim], weight[dim:]
            k, v = project_keys_values(context, kv_weight)
        else:
            q_weight = self.half_weight(self.q_proj_weight)
            k = project_context(context, self.half_weight(self.k_proj_weight))
            v = project_context(context, self.half_weight(self.v_proj_weight))
        n, length, _ = x.shape
        q = linear(x.reshape(n * length, dim), q_weight).reshape(n, length, dim)
        mixed = self.half(attention(self.half(q), self.half(k), self.half(v), self.heads))
        y = project_output(mixed, self.out_proj.half_weight(self.out_proj.weight))
        if self.adapter is not None:
            y = self.adapter(mixed, y)
        return y


def _projection(out_features: int, in_features: int) -> Parameter:
    bound = math.sqrt(6 / (out_features + in_features))
    return Parameter(initializer(Uniform(bound), (out_features, in_features), ms.float32))
