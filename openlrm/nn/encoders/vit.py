"""One Vision Transformer (Dosovitskiy et al., 2021) for DINO and DINOv2 with registers (Darcet et al., 2023).

Parameter names are those of the DINOv2 checkpoints, below `encoder.model.` in a model.
"""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from openlrm.nn.encoders.host import HostBlocks, fits
from openlrm.nn.encoders.positions import resize_matrix
from openlrm.nn.encoders.presets import EncoderSpec
from openlrm.ops import (
    AddBias,
    LayerNorm,
    Linear,
    SiLU,
    attention,
    constant,
    fuses_layers,
    gelu,
    linear,
    project_keys_values,
    project_output,
    silu,
)


@constant
def _imagenet() -> np.ndarray:
    """(2, 1, 3, 1, 1): mean and standard deviation of its pictures' channels."""
    return np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32).reshape(2, 1, 3, 1, 1)


_resize_matrix = constant(resize_matrix)


class SelfAttention(nn.Cell):
    """Self-attention with one biased product for q, k, v."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)
        self.add_bias = AddBias()

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        n, length, dim = x.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        q = linear(x.reshape(n * length, dim), weight[:dim], bias[:dim]).reshape(n, length, dim)
        k, v = project_keys_values(x, weight[dim:], bias[dim:])
        y = project_output(attention(q, k, v, self.heads), self.proj.weight)
        return self.add_bias(y.reshape(n * length, dim), self.proj.bias).reshape(n, length, dim)


class Mlp(nn.Cell):
    """Linear to 4x the width, GELU, Linear."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = Linear(dim, 4 * dim), Linear(4 * dim, dim)

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        return self.fc2(gelu(self.fc1(x)))


class SwiGLU(nn.Cell):
    """Gated MLP of ViT-g (Shazeer, 2020): w3(silu(a) * b), [a, b] = w12(x); hidden 8/3 of the width, in eights."""

    def __init__(self, dim: int):
        super().__init__()
        self.hidden = (int(4 * dim * 2 / 3) + 7) // 8 * 8
        self.w12, self.w3 = Linear(dim, 2 * self.hidden), Linear(self.hidden, dim)

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        y = self.w12(x)
        return self.w3(silu(y[..., : self.hidden]) * y[..., self.hidden :])


class LayerScale(nn.Cell):
    """x * gamma (Touvron et al., 2021); gamma (dim,)."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = Parameter(initializer("ones", (dim,), ms.float32))

    def construct(self, x: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        return x * self.gamma


class Block(nn.Cell):
    """Pre-normalised attention and MLP; the norms may be modulated by a camera (adaptive LayerNorm, without gates)."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        dim = spec.embed_dim
        self.norm1, self.norm2 = LayerNorm(dim, spec.eps), LayerNorm(dim, spec.eps)
        self.attn = SelfAttention(dim, spec.num_heads)
        self.mlp = SwiGLU(dim) if spec.ffn_layer == "swiglufused" else Mlp(dim)
        self.ls1 = LayerScale(dim) if spec.layer_scale else nn.Identity()
        self.ls2 = LayerScale(dim) if spec.layer_scale else nn.Identity()
        if spec.modulation:
            self.adaLN_modulation = nn.SequentialCell(SiLU(), Modulation(dim))

    def construct(self, x: Tensor, camera: Tensor | None = None) -> Tensor:
        """(N, L, dim) and, where the block is modulated, (N, dim) -> (N, L, dim)."""
        if camera is None:
            x = x + self.ls1(self.attn(self.norm1(x)))
            return x + self.ls2(self.mlp(self.norm2(x)))
        shift1, scale1, shift2, scale2 = ops.chunk(self.adaLN_modulation(camera), 4, axis=1)
        x = x + self.ls1(self.attn(self.norm1(x, shift1, scale1)))
        return x + self.ls2(self.mlp(self.norm2(x, shift2, scale2)))


class Modulation(Linear):
    """Linear (N, dim) -> (N, 4 dim): shift and scale of both norms; it starts at zero, as no modulation."""

    def __init__(self, dim: int):
        super().__init__(dim, 4 * dim, zero_bias=True)
        self.weight = Parameter(initializer("zeros", (4 * dim, dim), ms.float32))


class PatchEmbed(nn.Cell):
    """Convolution with kernel = stride = patch side, as one matrix product."""

    def __init__(self, patch: int, dim: int):
        super().__init__()
        self.patch = patch
        self.proj = PatchProjection(patch, dim)

    def construct(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, (H/p)(W/p), dim), row-major."""
        n, _, height, width = image.shape
        p = self.patch
        h, w = height // p, width // p
        patches = image.reshape(n, 3, h, p, w, p).transpose(0, 2, 4, 1, 3, 5).reshape(n * h * w, 3 * p * p)
        return self.proj(patches).reshape(n, h * w, -1)


class PatchProjection(nn.Cell):
    """The convolution's weight (dim, 3, p, p) and bias (dim,) applied to flattened patches."""

    def __init__(self, patch: int, dim: int):
        super().__init__()
        self.weight = Parameter(initializer(TruncatedNormal(0.02), (dim, 3, patch, patch), ms.float32))
        self.bias = Parameter(initializer("zeros", (dim,), ms.float32))

    def construct(self, patches: Tensor) -> Tensor:
        """(P, 3 p p) -> (P, dim)."""
        return linear(patches, self.weight.reshape(self.weight.shape[0], -1), self.bias)


class VisionTransformer(nn.Cell):
    """Image -> class token and patch tokens after the last norm; register tokens are dropped."""

    def __init__(self, spec: EncoderSpec):
        super().__init__()
        dim = spec.embed_dim
        self.spec = spec
        self.grid = spec.img_size // spec.patch_size
        self.registers = spec.num_register_tokens
        self.cls_token = Parameter(initializer(TruncatedNormal(0.02), (1, 1, dim), ms.float32))
        self.pos_embed = Parameter(initializer(TruncatedNormal(0.02), (1, 1 + self.grid**2, dim), ms.float32))
        if self.registers:
            self.register_tokens = Parameter(initializer(TruncatedNormal(0.02), (1, self.registers, dim), ms.float32))
        self.patch_embed = PatchEmbed(spec.patch_size, dim)
        self.blocks = nn.CellList([Block(spec) for _ in range(spec.depth)])
        self.norm = LayerNorm(dim, spec.eps)
        self.host_blocks = HostBlocks(self.blocks)
        self.fits_host = fits(spec)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position table (1, 1 + rows * columns, dim), the patch part resized to the image's patch grid.

        Two products of at most 0.1 GFLOP: cheaper than keeping a cache right while the table is trained.
        """
        grid = self.grid
        if rows == grid and columns == grid:
            return self.pos_embed
        dim = self.pos_embed.shape[2]
        how = (self.spec.antialias, self.spec.interpolate_offset)
        across, down = _resize_matrix(grid, columns, *how), _resize_matrix(grid, rows, *how)
        table = self.pos_embed[0, 1:].reshape(grid, grid * dim)
        table = ops.matmul(down, table).reshape(rows, grid, dim).transpose(1, 0, 2).reshape(grid, rows * dim)
        table = ops.matmul(across, table).reshape(columns, rows, dim).transpose(1, 0, 2)
        return ops.concat([self.pos_embed[:, :1], table.reshape(1, rows * columns, dim)], axis=1)

    def construct(self, image: Tensor, frozen: bool = False, camera: Tensor | None = None) -> Tensor:
        """Tokens of images.

        Args:
            image: (N, 3, H, W) in [0, 1], sides multiples of the patch.
            frozen: no gradient will be asked for, though the cell may be in training.
            camera: (N, dim) embedding, where the blocks are modulated.

        Returns:
            (N, 1 + (H/p)(W/p), dim).
        """
        n, _, height, width = image.shape
        if self.spec.normalise:
            image = (image - _imagenet()[0]) / _imagenet()[1]
        patch = self.spec.patch_size
        dim = self.spec.embed_dim
        x = self.patch_embed(image)
        x = ops.concat([ops.broadcast_to(self.cls_token, (n, 1, dim)), x], axis=1)
        x = x + self.positions(height // patch, width // patch)
        if self.registers:
            registers = ops.broadcast_to(self.register_tokens, (n, self.registers, dim))
            x = ops.concat([x[:, :1], registers, x[:, 1:]], axis=1)
        if fuses_layers() and self.fits_host and (frozen or not self.training):
            x = self.host_blocks(x, camera)
        else:
            for block in self.blocks:
                x = block(x, camera)
        x = self.norm(x)
        if self.registers:
            x = ops.concat([x[:, :1], x[:, 1 + self.registers :]], axis=1)
        return x


class ImageEncoder(nn.Cell):
    """The encoder of a model: a Vision Transformer that may be frozen."""

    def __init__(self, spec: EncoderSpec, freeze: bool):
        super().__init__()
        self.model = VisionTransformer(spec)
        self.freeze = freeze
        if freeze:
            for parameter in self.get_parameters():
                parameter.requires_grad = False

    def construct(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1 + patches, D); no gradient is kept when frozen."""
        features = self.model(image, self.freeze)
        return ops.stop_gradient(features) if self.freeze else features
