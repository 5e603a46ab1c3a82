"""The Ascend column through the strict stand-in of its kernels, against the CPU's."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from npu import HALF, RefusedError, unit_roundoff

from openlrm import ModelLRM
from openlrm.losses import pixel_loss, total_variation
from openlrm.ops import attention, build_table, conv3x3, gelu, sample_table, sort_by_depth, square_sum

RENDER = (
    "render_cameras",
    "render_anchors",
    "render_resolutions",
    "render_bg_colors",
    "stratified_noise",
    "importance_u",
)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    random = np.random.default_rng(seed)
    return [Tensor(random.normal(size=shape).astype(np.float32)) for shape in shapes]


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max())


class Attention(nn.Cell):
    """Loss whose gradient is that of the attention times given numbers."""

    def __init__(self, heads, out_gradient, dtype):
        super().__init__()
        self.heads, self.out_gradient, self.dtype = heads, out_gradient, dtype

    def construct(self, q, k, v):
        out = attention(q.astype(self.dtype), k.astype(self.dtype), v.astype(self.dtype), self.heads)
        return (out.astype(ms.float32) * self.out_gradient).sum(), out.astype(ms.float32)


def exact(q, k, v, heads, dout) -> list[np.ndarray]:
    """Attention and its three gradients in float64, by the definition."""
    n, _, width = q.shape

    def split(x):
        return x.asnumpy().astype(float).reshape(n, -1, heads, width // heads).transpose(0, 2, 1, 3)

    def join(x):
        return x.transpose(0, 2, 1, 3).reshape(n, -1, width)

    q, k, v, dout = map(split, (q, k, v, dout))
    scale = (width // heads) ** -0.5
    scores = q @ k.swapaxes(2, 3) * scale
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    out, dp = p @ v, dout @ v.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
    return [join(x) for x in (out, ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ dout)]


@pytest.mark.parametrize("dtype", [ms.float16, ms.bfloat16, ms.float32], ids=str)
@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 16), (2, 8)])
def test_attention_and_its_gradients(npu, heads, size, dtype):
    """Half precision through the fused kernel where it knows the heads; all else in float32 products."""
    width = heads * size
    q, k, v, dout = drawn(0, (2, 70, width), (2, 50, width), (2, 50, width), (2, 70, width))
    expected = exact(q, k, v, heads, dout)
    record = npu()
    cell = Attention(heads, dout, dtype)
    (_, out), gradients = ms.value_and_grad(cell, (0, 1, 2), has_aux=True)(q, k, v)
    assert record.seen["ops.flash_attention_score"] == (1 if dtype in HALF and size % 16 == 0 else 0)
    # Inputs, probabilities and results are rounded once each; a score of size s moves its probability by s roundings.
    tolerance = 6 * unit_roundoff(dtype) if dtype in HALF else 2e-6
    for ours, theirs in zip((out, *gradients), expected, strict=True):
        assert relative(ours.asnumpy(), theirs) < tolerance


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": ms.float32}, "Float32, documented are Float16, BFloat16"),
        ({"heads": 4}, "heads of 8"),
        ({"rank": 4}, "rank for BSH"),
        ({"layout": "BHS"}, "no layout BHS"),
        ({"scale": 1}, "no double"),
        ({"name": "head_number"}, "argument"),
        ({"value": ms.bfloat16}, "formats differ"),
    ],
)
def test_the_fused_kernel_refuses(npu, change, words):
    npu()
    dtype = change.get("dtype", ms.float16)
    shape = (2, 5, 32) if change.get("rank", 3) == 3 else (2, 1, 5, 32)
    q, k, v = (x.astype(dtype) for x in drawn(1, shape, shape, shape))
    heads = {change.get("name", "head_num"): change.get("heads", 2)}
    options = {"scalar_value": change.get("scale", 0.25), "input_layout": change.get("layout", "BSH")}
    with pytest.raises(RefusedError, match=words):
        ops.flash_attention_score(q, k, v.astype(change.get("value", dtype)), **heads, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ops.sort(x),
        lambda x: ops.rand(3, 3),
        lambda x: ops.LayerNorm(-1, -1)(x.astype(ms.bfloat16), x[0].astype(ms.bfloat16), x[0].astype(ms.bfloat16)),
        lambda x: ops.MatMul()(x, x.astype(ms.float16)),
        lambda x: ops.MatMul()(x[None], x[None]),
        lambda x: ops.softplus(x.astype(ms.bfloat16)),
        lambda x: ops.grid_sample(x[None, None].astype(ms.float16), x[:2, :2].reshape(1, 1, 2, 2).astype(ms.float16)),
        lambda x: ops.Assign()(ms.Parameter(x), x.astype(ms.float16)),
        lambda x: ops.LayerNorm(-1, 0)(x, x, x),
    ],
)
def test_what_documentation_does_not_promise_is_refused(npu, call):
    (x,) = drawn(2, (4, 4))
    npu()
    with pytest.raises(RefusedError):
        call(x)


def test_sorting_keeps_every_depth(npu):
    """Order by whole numbers, depths as they were: also where they differ in the last place alone."""
    random = np.random.default_rng(3)
    depths = random.uniform(-0.5, 3, (40, 24)).astype(np.float32)
    depths[1] = 1.5
    depths[2, 5] = np.nextafter(depths[2, 6], np.float32(9))
    npu()
    values, order = (x.asnumpy() for x in sort_by_depth(Tensor(depths)))
    np.testing.assert_array_equal(np.sort(values, axis=1), np.sort(depths, axis=1))
    np.testing.assert_array_equal(np.take_along_axis(depths, order, 1), values)
    assert np.diff(values, axis=1).min() >= -3.5 * 2.0**-23
    assert order.dtype == np.int32


def test_small_ops(npu):
    x, weight, bias = drawn(4, (2, 3, 9, 7), (5, 3, 3, 3), (5,))
    planes, points = drawn(5, (2, 3, 4, 6, 6), (2, 50, 3))
    tokens = drawn(6, (300,))[0]
    results = []
    for _ in range(2):
        sampled = sample_table(build_table(planes), points * 0.7, 4)
        results.append([conv3x3(x, weight, bias), sampled, gelu(tokens), square_sum(tokens)])
        npu()
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert relative(ours.asnumpy(), theirs.asnumpy()) < 1e-5


class Loss(nn.Cell):
    """MSE and total variation of a model on the golden batch, as the golden losses were made."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def construct(self, image, camera, target, *view):
        out = self.model(image, camera, *view[:4], 12, *view[4:])
        return pixel_loss(out["images_rgb"], target) + 5e-4 * total_variation(out["planes"]), out["images_rgb"]


def loss_and_gradients(model, golden):
    names, weights = zip(*model.parameters_and_names(), strict=True)
    cell = Loss(model).set_train(True)
    given = [Tensor(golden[key]) for key in ("image", "source_camera", "target", *RENDER)]
    (loss, rgb), gradients = ms.value_and_grad(cell, None, ms.ParameterTuple(weights), has_aux=True)(*given)
    return loss.asnumpy(), rgb.asnumpy(), dict(zip(names, (g.asnumpy() for g in gradients), strict=True))


@pytest.fixture
def shaped(mini_config) -> ModelLRM:
    """A model of the golden one's size with heads that the fused kernel knows: 64 in the encoder, 16 in the layers."""
    ms.set_seed(3)
    encoder = mini_config["encoder"] | {"embed_dim": 128, "num_heads": 2}
    return ModelLRM(**mini_config | {"encoder": encoder, "encoder_feat_dim": 128, "transformer_dim": 64})


def test_the_golden_model_in_float32(npu, mini, golden):
    """The published implementation's numbers, through grid_sample, sort, plain attention and negative sums."""
    record = npu()
    loss, rgb, gradients = loss_and_gradients(mini, golden)
    assert abs(loss / golden["loss"] - 1) < 1e-4
    assert relative(rgb, golden["images_rgb"]) < 1e-4
    for name, gradient in gradients.items():
        expected = golden[f"grad/{name}"]
        assert np.abs(gradient - expected).max() <= 1e-3 * max(np.abs(expected).max(), 1e-12), name
    assert record.seen["ops.grid_sample"] and record.seen["ops.sort"] and not record.seen["ops.flash_attention_score"]
    assert set().union(*(record.formats[name] for name in ("ops.MatMul", "ops.LayerNorm"))) == {ms.float32}


def test_inference_in_float32(npu, shaped, golden):
    given = [Tensor(golden[key]) for key in ("image", "source_camera")]
    view = [Tensor(golden[key]) for key in RENDER[:4]]
    results = []
    for _ in range(2):
        planes = shaped.forward_planes(*given)
        pictures = shaped.synthesizer(planes, *view, 12)
        grid = shaped.synthesizer.forward_grid(planes, 7)
        results.append([planes, pictures["images_rgb"], pictures["images_depth"], grid["sigma"]])
        npu()
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert relative(ours.asnumpy(), theirs.asnumpy()) < 5e-5
