"""Triplane transformer (LRM, Hong et al., 2023, section 3.2) with camera modulation (eq. 4-5 there)."""

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, Uniform, initializer

from openlrm.nn.transformer.attention import MultiHeadAttention
from openlrm.nn.transformer.host import HostLayers, fits
from openlrm.ops import LayerNorm, Linear, SiLU, fuses_layers, gelu


class GELU(nn.Cell):
    """Exact (erf) GELU."""

    def construct(self, x: Tensor) -> Tensor:
        """Any shape."""
        return gelu(x)


class CameraEmbedder(nn.Cell):
    """Source camera (N, 16) -> embedding (N, dim): two linear layers around a SiLU."""

    def __init__(self, dim: int):
        super().__init__()
        self.mlp = nn.SequentialCell(Linear(16, dim), SiLU(), Linear(dim, dim))

    def construct(self, camera: Tensor) -> Tensor:
        """Camera = 3x4 camera-to-world row-major, then fx, fy, cx, cy over the image's width and height."""
        return self.mlp(camera)


class ModLN(nn.Cell):
    """LayerNorm modulated by the camera: LN(x) * (1 + scale) + shift, [shift, scale] = Linear(SiLU(c))."""

    def __init__(self, dim: int, mod_dim: int, eps: float = 1e-6):
        super().__init__()
        self.dim = dim
        self.norm = LayerNorm(dim, eps)
        self.mlp = nn.SequentialCell(SiLU(), Linear(mod_dim, 2 * dim))

    def construct(self, x: Tensor, camera: Tensor) -> Tensor:
        """(N, L, dim), (N, mod_dim) -> (N, L, dim)."""
        modulation = self.mlp(camera)
        return self.norm(x, modulation[:, : self.dim], modulation[:, self.dim :])


class TriplaneLayer(nn.Cell):
    """Cross-attention to the image features, self-attention, MLP; each pre-normalised, and modulated if asked for.

    Args:
        dim: width.
        heads: of both attentions.
        feature_dim: width of the image features.
        mod_dim: width of the camera embedding that modulates the norms; None for plain ones.
        eps: of the norms.
    """

    def __init__(self, dim: int, heads: int, feature_dim: int, mod_dim: int | None, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.norm1, self.norm2, self.norm3 = (
            LayerNorm(dim, eps) if mod_dim is None else ModLN(dim, mod_dim, eps) for _ in range(3)
        )
        self.cross_attn = MultiHeadAttention(dim, heads, feature_dim)
        self.self_attn = MultiHeadAttention(dim, heads)
        # Index 2 is the dropout (rate 0) of the released layout: keys are mlp.0 and mlp.3.
        self.mlp = nn.SequentialCell(Linear(dim, 4 * dim), GELU(), nn.Identity(), Linear(4 * dim, dim))

    def construct(self, x: Tensor, features: Tensor, camera: Tensor | None = None) -> Tensor:
        """(N, L, dim), (N, K, feature_dim) and, where norms are modulated, (N, mod_dim) -> (N, L, dim)."""
        if camera is None:
            x = x + self.cross_attn(self.norm1(x), features)
            x = x + self.self_attn(self.norm2(x))
            return x + self.mlp(self.norm3(x))
        x = x + self.cross_attn(self.norm1(x, camera), features)
        x = x + self.self_attn(self.norm2(x, camera))
        return x + self.mlp(self.norm3(x, camera))


class TriplaneTransformer(nn.Cell):
    """Layers and the final LayerNorm; the learned start tokens belong to the model (`pos_embed`).

    Args:
        layers: number of them.
        dim: as of `TriplaneLayer`, like what follows.
        heads: likewise.
        feature_dim: likewise.
        mod_dim: likewise.
        eps: of the layers' norms; the final one's is 1e-6.
    """

    def __init__(
        self, layers: int, dim: int, heads: int, feature_dim: int, mod_dim: int | None = None, eps: float = 1e-6
    ):
        super().__init__()
        self.layers = nn.CellList([TriplaneLayer(dim, heads, feature_dim, mod_dim, eps) for _ in range(layers)])
        self.norm = LayerNorm(dim)
        self.host_layers = HostLayers(self.layers)
        self.fits_host = fits(self.layers[0])

    def construct(self, tokens: Tensor, features: Tensor, camera: Tensor | None = None) -> Tensor:
        """(N, L, dim), (N, K, feature_dim) and, where norms are modulated, (N, mod_dim) -> (N, L, dim)."""
        if fuses_layers() and self.fits_host and not self.training:
            return self.norm(self.host_layers(tokens, features, camera))
        for layer in self.layers:
            tokens = layer(tokens, features, camera)
        return self.norm(tokens)


class Upsampler(nn.Cell):
    """Transposed convolution, kernel 2, stride 2: one matrix product and a reshuffle, since kernel = stride.

    As Conv2dTranspose it takes 0.66 s on a CPU for 0.4 GFLOP.
    """

    def __init__(self, dim: int, channels: int, low_res: int):
        super().__init__()
        self.dim, self.channels, self.low_res = dim, channels, low_res
        bound = 1 / math.sqrt(4 * channels)
        self.weight = Parameter(initializer(Uniform(bound), (dim, channels, 2, 2), ms.float32))
        self.bias = Parameter(initializer(Uniform(bound), (channels,), ms.float32))

    def construct(self, tokens: Tensor) -> Tensor:
        """Tokens (N, 3 r^2, dim), row-major on each plane -> planes (N, 3, C, 2r, 2r)."""
        n, r, c = tokens.shape[0], self.low_res, self.channels
        pixels = ops.matmul(tokens.reshape(-1, self.dim), self.weight.reshape(self.dim, c * 4))
        pixels = pixels.reshape(n, 3, r, r, c, 2, 2).transpose(0, 1, 4, 2, 5, 3, 6)
        return pixels.reshape(n, 3, c, 2 * r, 2 * r) + self.bias.reshape(c, 1, 1)


def triplane_tokens(low_res: int, dim: int) -> Parameter:
    """Learned start tokens (1, 3 r^2, dim) ~ N(0, 1) / sqrt(dim)."""
    return Parameter(initializer(Normal(1 / math.sqrt(dim)), (1, 3 * low_res**2, dim), ms.float32))
