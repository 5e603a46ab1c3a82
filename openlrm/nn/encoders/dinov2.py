"""DINOv2 without registers (Oquab et al., 2023) under Hugging Face's parameter names."""

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from openlrm.nn.encoders.positions import resize_matrix
from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.nn.encoders.vit import Mlp, PatchProjection
from openlrm.ops import LayerNorm, Linear, attend_tokens

# Added to the number of patches where the position table is resized: the weights were trained with it.
_TABLE_OFFSET = 0.1


class Dinov2(nn.Cell):
    """Pictures -> patch tokens after the last norm; the class token is dropped.

    Args:
        spec: sizes; `num_register_tokens`, `antialias` and `normalise` are not looked at.
    """

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        self.patch = spec.patch_size
        self.embeddings = _Embeddings(spec)
        self.encoder = _Layers(spec)
        self.layernorm = LayerNorm(spec.embed_dim, spec.eps)

    def construct(self, images: Tensor) -> Tensor:
        """Tokens of images.

        Args:
            images: (N, 3, H, W), normalised by ImageNet's mean and deviation; sides multiples of the patch.

        Returns:
            (N, (H/p)(W/p), dim), row by row.
        """
        x = self.embeddings(images)
        for layer in self.encoder.layer:
            x = layer(x)
        return self.layernorm(x)[:, 1:]


class _Embeddings(nn.Cell):
    """Patches, class token and positions."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        dim, self.grid = spec.embed_dim, spec.img_size // spec.patch_size
        self.cls_token = _normal((1, 1, dim))
        self.mask_token = _normal((1, dim))
        self.position_embeddings = _normal((1, 1 + self.grid**2, dim))
        self.patch_embeddings = _Patches(spec)

    def construct(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1 + patches, dim)."""
        rows, columns = images.shape[2] // self.patch_embeddings.patch, images.shape[3] // self.patch_embeddings.patch
        x = self.patch_embeddings(images)
        first = ops.broadcast_to(self.cls_token, (x.shape[0], 1, x.shape[2]))
        return ops.concat([first, x], axis=1) + self.positions(rows, columns)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position table (1, 1 + rows * columns, dim), its patch part resized by plain bicubic interpolation."""
        grid, table = self.grid, self.position_embeddings
        if rows == grid and columns == grid:
            return table
        dim = table.shape[2]
        down = Tensor(resize_matrix(grid, rows, False, _TABLE_OFFSET))
        across = Tensor(resize_matrix(grid, columns, False, _TABLE_OFFSET))
        patches = ops.matmul(down, table[0, 1:].reshape(grid, grid * dim)).reshape(rows, grid, dim)
        patches = ops.matmul(across, patches.transpose(1, 0, 2).reshape(grid, rows * dim))
        patches = patches.reshape(columns, rows, dim).transpose(1, 0, 2).reshape(1, rows * columns, dim)
        return ops.concat([table[:, :1], patches], axis=1)


class _Patches(nn.Cell):
    """Convolution with kernel = stride = patch side, as one matrix product."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        self.patch = spec.patch_size
        self.projection = PatchProjection(spec.patch_size, spec.embed_dim)

    def construct(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, (H/p)(W/p), dim); a rest at the right and lower border is not looked at."""
        return self.projection(cut_patches(images, self.patch)).reshape(
            images.shape[0], (images.shape[2] // self.patch) * (images.shape[3] // self.patch), -1
        )


def cut_patches(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N (H/s)(W/s), C s s), row by row; a rest at the border is left out."""
    n, channels, height, width = images.shape
    rows, columns = height // side, width // side
    images = images[:, :, : rows * side, : columns * side]
    patches = images.reshape(n, channels, rows, side, columns, side).transpose(0, 2, 4, 1, 3, 5)
    return patches.reshape(n * rows * columns, channels * side * side)


class _Layers(nn.Cell):
    """The blocks, under the name they are released with."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        self.layer = nn.CellList([_Layer(spec) for _ in range(spec.depth)])


class _Layer(nn.Cell):
    """Pre-normalised attention and MLP, each scaled."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        dim = spec.embed_dim
        self.norm1, self.norm2 = LayerNorm(dim, spec.eps), LayerNorm(dim, spec.eps)
        self.attention = _Attention(dim, spec.num_heads)
        self.layer_scale1, self.layer_scale2 = _Scale(dim), _Scale(dim)
        self.mlp = Mlp(dim)

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        x = x + self.layer_scale1(self.attention(self.norm1(x)))
        return x + self.layer_scale2(self.mlp(self.norm2(x)))


class _Attention(nn.Cell):
    """Self-attention; projections `attention.*`, result `output.dense`."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention = _Projections(dim)
        self.output = _Output(dim)

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        return self.output.dense(attend_tokens(*self.attention(x), self.heads))


class _Projections(nn.Cell):
    """Queries, keys and values."""

    def __init__(self, dim: int):
        super().__init__()
        self.query, self.key, self.value = Linear(dim, dim), Linear(dim, dim), Linear(dim, dim)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, L, dim) -> three of the same shape."""
        return self.query(x), self.key(x), self.value(x)


class _Output(nn.Cell):
    """Holds the projection of the result."""

    def __init__(self, dim: int):
        super().__init__()
        self.dense = Linear(dim, dim)


class _Scale(nn.Cell):
    """x * lambda1 (Touvron et al., 2021)."""

    def __init__(self, dim: int):
        super().__init__()
        self.lambda1 = Parameter(initializer("ones", (dim,), ms.float32))

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        return x * self.lambda1


def _normal(shape: tuple[int, ...]) -> Parameter:
    return Parameter(initializer(TruncatedNormal(0.02), shape, ms.float32))
