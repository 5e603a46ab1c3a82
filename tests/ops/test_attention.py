"""Blocked attention against the plain formula, with gradients."""

import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from openlrm.ops import attention, project_keys_values, project_output
from openlrm.ops.attention import BlockedAttention, HostAttention

# 21 scores a query row: blocks of 4, 4 and 2 rows; of one row; all at once.
BATCH, QUERIES, KEYS, DIM = 3, 10, 7, 5
BLOCKS = {"three blocks": 4 * BATCH * KEYS, "one row a block": 1, "one block": 10**6}


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture
def tensors() -> list[np.ndarray]:
    """q (B, Lq, d), k and v (B, d, Lk), and a weight for every output."""
    rng = np.random.default_rng(0)
    shapes = (BATCH, QUERIES, DIM), (BATCH, DIM, KEYS), (BATCH, DIM, KEYS), (BATCH, DIM, QUERIES)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


class Plain(nn.Cell):
    """The formula, differentiated by the framework."""

    def construct(self, q, k, v):
        weights = ops.softmax(ops.bmm(q, k), axis=-1)
        return ops.bmm(v, weights.transpose(0, 2, 1))


class Weighted(nn.Cell):
    """A number that depends on every output."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def construct(self, q, k, v, weight):
        return (self.inner(q, k, v) * weight).sum()


@pytest.mark.parametrize("elements", BLOCKS.values(), ids=BLOCKS)
def test_forward(mode, tensors, elements):
    q, k, v, _ = tensors
    expected = v.astype(float) @ softmax(q.astype(float) @ k).transpose(0, 2, 1)
    actual = BlockedAttention(elements)(*(Tensor(x) for x in (q, k, v))).asnumpy()
    # Scores reach 8, so a float32 rounding of one changes its weight by 1e-6.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("elements", BLOCKS.values(), ids=BLOCKS)
def test_gradients_are_those_of_the_formula(mode, tensors, elements):
    inputs = [Tensor(x) for x in tensors]
    actual = ms.grad(Weighted(BlockedAttention(elements)), (0, 1, 2))(*inputs)
    expected = ms.grad(Weighted(Plain()), (0, 1, 2))(*inputs)
    for name, ours, theirs in zip("qkv", actual, expected, strict=True):
        np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), rtol=0, atol=5e-6, err_msg=name)


def test_gradients_are_slopes(mode, tensors):
    """Central differences along one random direction for each input, computed in float64."""
    gradients = ms.grad(Weighted(BlockedAttention(BLOCKS["three blocks"])), (0, 1, 2))(*(Tensor(x) for x in tensors))
    rng = np.random.default_rng(1)

    def value(q, k, v):
        return ((v @ softmax(q @ k).transpose(0, 2, 1)) * tensors[3]).sum()

    for position, gradient in enumerate(gradients):
        direction, step = rng.normal(size=gradient.shape), 1e-5
        ends = []
        for sign in (1, -1):
            moved = [x.astype(float) for x in tensors[:3]]
            moved[position] += sign * step * direction
            ends.append(value(*moved))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert (gradient.asnumpy() * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_scores_far_apart_do_not_overflow(mode, tensors):
    q, k, v, _ = tensors
    out = BlockedAttention()(Tensor(1e4 * q), Tensor(1e4 * k), Tensor(v)).asnumpy()
    best = np.argmax(q.astype(float) @ k, axis=-1)
    np.testing.assert_allclose(out, np.take_along_axis(v, best[:, None], axis=2), rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2])
def test_heads(mode, samples):
    """Projections, heads and output as one, per sample and head in float64."""
    rng = np.random.default_rng(2)
    dim, heads, width = 6, 2, 4
    x, context = rng.normal(size=(samples, 5, dim)), rng.normal(size=(samples, 3, width))
    to_kv, to_out, bias = rng.normal(size=(2 * dim, width)), rng.normal(size=(8, dim)), rng.normal(size=2 * dim)
    expected = np.zeros((samples, 5, 8))
    for n in range(samples):
        kv = context[n] @ to_kv.T + bias
        mixed = []
        for head in range(heads):
            part = np.s_[:, head * 3 : head * 3 + 3]
            weights = softmax(x[n][part] @ kv[:, :dim][part].T / np.sqrt(3))
            mixed.append(weights @ kv[:, dim:][part])
        expected[n] = np.concatenate(mixed, axis=1) @ to_out.T
    x, context, to_kv, to_out, bias = (Tensor(a.astype(np.float32)) for a in (x, context, to_kv, to_out, bias))
    k, v = project_keys_values(context, to_kv, bias)
    actual = project_output(attention(x, k, v, heads), to_out).asnumpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


class First(nn.Cell):
    """Host attention without its logarithms."""

    def __init__(self):
        super().__init__()
        self.inner = HostAttention()

    def construct(self, q, k, v):
        return self.inner(q, k, v)[0]


class PlainHeads(nn.Cell):
    """The formula for heads of 64, differentiated by the framework."""

    def construct(self, q, k, v):
        n, queries, dim = q.shape
        q, k, v = (x.reshape(n, x.shape[1], -1, 64).transpose(0, 2, 1, 3) for x in (q, k, v))
        weights = ops.softmax(ops.matmul(q, k.transpose(0, 1, 3, 2)) / 8, axis=-1)
        return ops.matmul(weights, v).transpose(0, 2, 1, 3).reshape(n, queries, dim)


def exact_heads(q, k, v):
    q, k, v = (x.astype(float).reshape(*x.shape[:2], -1, 64).swapaxes(1, 2) for x in (q, k, v))
    out = softmax(q @ k.swapaxes(2, 3) / 8) @ v
    return out.swapaxes(1, 2).reshape(q.shape[0], q.shape[2], -1)


@pytest.mark.parametrize("samples, heads", [(1, 1), (2, 3)])
@pytest.mark.parametrize("queries, keys", [(64, 64), (100, 70), (3, 200), (65, 129), (300, 5), (1, 2)])
def test_host_attention(pynative, samples, heads, queries, keys):
    """Whole and partial tiles; scores large enough that running maxima grow."""
    rng = np.random.default_rng(queries)
    lengths = (queries, keys, keys, queries)
    inputs = [rng.normal(size=(samples, length, 64 * heads)).astype(np.float32) for length in lengths]
    inputs[0] *= 4
    tensors = list(map(Tensor, inputs))
    np.testing.assert_allclose(First()(*tensors[:3]).asnumpy(), exact_heads(*inputs[:3]), rtol=0, atol=2e-5)
    found = ms.grad(Weighted(First()), (0, 1, 2))(*tensors)
    wanted = ms.grad(Weighted(PlainHeads()), (0, 1, 2))(*tensors)
    for actual, reference in zip(found, wanted, strict=True):
        scale = max(1, np.abs(reference.asnumpy()).max())
        np.testing.assert_allclose(actual.asnumpy(), reference.asnumpy(), rtol=0, atol=2e-5 * scale)


def test_host_attention_of_scores_that_differ_by_thousands(pynative):
    """Neither overflow nor a lost row; float32 holds scores of 2000 to 1e-4."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.normal(size=(1, length, 64)).astype(np.float32) for length in (70, 150, 150))
    q *= 800
    np.testing.assert_allclose(First()(*map(Tensor, (q, k, v))).asnumpy(), exact_heads(q, k, v), rtol=0, atol=1e-3)


@pytest.mark.parametrize("place", range(3))
def test_host_attention_shows_what_is_not_a_number(pynative, place):
    inputs = [np.ones((1, 70, 64), np.float32) for _ in range(3)]
    inputs[place][0, 5, 6] = np.nan
    assert np.isnan(First()(*map(Tensor, inputs)).asnumpy()).any()


def test_host_attention_is_the_default_for_heads_of_64(pynative, monkeypatch):
    used = []
    module = sys.modules["openlrm.ops.attention"]
    monkeypatch.setattr(module, "_host_attention", lambda: lambda q, k, v: (used.append(q.shape) or v, None))
    x = Tensor(np.random.default_rng(2).normal(size=(1, 7, 128)).astype(np.float32))
    for heads in (2, 4):
        attention(x, x, x, heads)
    assert used == [(1, 7, 128)]
