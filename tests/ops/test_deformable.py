"""Deformable samples against loops, finite differences and the golden cross-attention, in every form."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.ops.deformable import HostDeformable, deformable_sample

SIZES = ((5, 7), (3, 2))


def brute_force(values, positions, weights, sizes=SIZES):
    """Every texel's hat function, in float64."""
    samples, tokens, heads = positions.shape[:3]
    out = np.zeros((samples, tokens, heads, values.shape[-1]))
    start = 0
    for level, (height, width) in enumerate(sizes):
        x, y = (
            positions[..., level, :, 0].astype(float) * width - 0.5,
            positions[..., level, :, 1] * float(height) - 0.5,
        )
        for row in range(height):
            for column in range(width):
                share = np.maximum(0, 1 - np.abs(x - column)) * np.maximum(0, 1 - np.abs(y - row))
                factor = (share * weights[:, :, :, level]).sum(-1)
                out += factor[..., None] * values[:, None, start + row * width + column]
        start += height * width
    return out


def scene(tokens=70):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 41, 3, 6))
    positions = rng.uniform(-0.3, 1.3, (2, tokens, 3, 2, 4, 2))
    # On a border, in its corner, and just beyond its reach.
    positions[0, 0, 0, 0, :3] = (0, 0.5), (1, 1), (-0.51 / 7, 0.5)
    return tuple(x.astype(np.float32) for x in (values, positions, rng.normal(size=positions.shape[:-1])))


def test_equals_hat_functions(mode):
    parts = scene()
    found = deformable_sample(*map(Tensor, parts[:1]), SIZES, *map(Tensor, parts[1:])).asnumpy()
    wanted = brute_force(*parts)
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()


def gradients(parts, upstream):
    def total(values, positions, weights):
        return (deformable_sample(values, SIZES, positions, weights) * Tensor(upstream)).sum()

    return [g.asnumpy() for g in ms.grad(total, (0, 1, 2))(*map(Tensor, parts))]


def test_gradients_equal_finite_differences(mode):
    parts = scene(tokens=5)
    # Away from texel centres, where the slope changes.
    scaled = parts[1] * np.array([[[7, 5]], [[2, 3]]])
    near = np.abs(scaled - 0.5 - np.round(scaled - 0.5)) < 1e-3
    parts[1][near] += 0.01
    upstream = np.random.default_rng(1).normal(size=(2, 5, 3, 6)).astype(np.float32)
    for which, found in enumerate(gradients(parts, upstream)):
        wanted = np.empty(found.shape)
        for place in np.ndindex(found.shape):
            ends = []
            for step in (1e-5, -1e-5):
                changed = [part.astype(float) for part in parts]
                changed[which][place] += step
                ends.append((brute_force(*changed) * upstream).sum())
            wanted[place] = (ends[0] - ends[1]) / 2e-5
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_same_bits_whatever_thread_works(pynative, monkeypatch):
    from openlrm.ops import deformable

    parts, upstream = scene(), np.ones((2, 70, 3, 6), np.float32)
    usual = gradients(parts, upstream)
    monkeypatch.setattr(deformable, "spread", lambda work, tasks: [work(task) for task in reversed(range(tasks))])
    for found, wanted in zip(gradients(parts, upstream), usual, strict=True):
        assert np.array_equal(found, wanted)


def test_a_position_that_is_not_a_number_reads_zero(pynative):
    values, positions, weights = scene()
    positions[0, 1] = np.nan
    out = deformable_sample(Tensor(values), SIZES, Tensor(positions), Tensor(weights)).asnumpy()
    assert not out[0, 1].any() and np.isfinite(out).all()


def test_shapes_that_do_not_fit(pynative):
    values, positions, weights = map(Tensor, scene())
    for parts in ((values[:, :40], positions, weights), (values, positions[..., :1, :], weights)):
        with pytest.raises(ValueError, match="do not fit maps of"):
            HostDeformable(SIZES)(*parts)


def test_golden_cross_attention(request, mode):
    """GeoLRM's deformable cross-attention of one object: per view, and after the fusion of its views."""
    with np.load(request.config.rootpath / "tests" / "golden" / "geolrm" / "deformable.npz") as arrays:
        g = dict(arrays)

    def apply(name, x):
        return x @ g[f"{name}.weight"].T + g[f"{name}.bias"]

    heads, points, sizes = 2, 4, ((14, 14), (8, 8))
    query, features, uv = g["dca_query"], g["encoder_features"], g["uv"]
    views, tokens = uv.shape[:2]
    offsets = apply("deformable_attention.sampling_offsets", query).reshape(tokens, heads, 2, points, 2)
    offsets /= np.array([(width, height) for height, width in sizes])[:, None]
    scores = np.exp(apply("deformable_attention.attention_weights", query).reshape(tokens, heads, -1))
    weights = (scores / scores.sum(-1, keepdims=True)).reshape(tokens, heads, 2, points)
    values = apply("deformable_attention.value_proj", features).reshape(views, -1, heads, 24)
    parts = values, uv[:, :, None, None, None] + offsets, np.repeat(weights[None], views, 0)
    values, positions, weights = (Tensor(part.astype(np.float32)) for part in parts)
    found = deformable_sample(values, sizes, positions, weights).asnumpy().reshape(views, tokens, 48)
    assert np.abs(found - g["dca_per_view"]).max() <= 1e-5 * np.abs(g["dca_per_view"]).max()
    shares = np.exp(apply("cross_view_weight", found))
    fused = apply("output_proj", (shares * found).sum(0) / shares.sum(0))
    assert np.abs(fused - g["dca_out"]).max() <= 1e-5 * np.abs(g["dca_out"]).max()
