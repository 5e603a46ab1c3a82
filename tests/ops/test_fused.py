"""The fused products on panels, against formulas in float64."""

import math
import re

import numpy as np
import pytest

from openlrm.ops import fused
from openlrm.ops.host.arrays import aligned_array, scratch

erf = np.vectorize(math.erf)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 5e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def room_for(x: np.ndarray, width: int) -> np.ndarray:
    """Panels to be written that hold what nobody should read."""
    out = fused.panels(width, x.shape[1])
    out[...] = np.nan
    return out


@pytest.mark.parametrize("rows", [1, 64, 65, 300])
def test_panels_and_back(rows):
    x = random(rows, 128)
    panels = fused.to_panels(x)
    assert panels.shape == (2, -(-rows // 64) * 64, 64)
    assert not panels[:, rows:].any()
    np.testing.assert_array_equal(panels[1, :rows], x[:, 64:])
    np.testing.assert_array_equal(fused.to_rows(panels, rows), x)


@pytest.mark.parametrize("rows", [1, 64, 130, 1100])
@pytest.mark.parametrize(("inner", "width"), [(64, 192), (192, 64), (576, 128)])
@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_product(rows, inner, width, activate, with_bias):
    x, weight = random(rows, inner), random(width, inner, seed=1) / 8
    bias = random(width, seed=2) if with_bias else np.empty(0, np.float32)
    expected = x.astype(float) @ weight.T.astype(float) + (bias if with_bias else 0)
    panels = fused.to_panels(x)
    if activate:
        expected = 0.5 * expected * (1 + erf(expected / math.sqrt(2)))
    found = fused.product(panels, weight, room_for(panels, width), bias, activate)
    close(fused.to_rows(found, rows), expected)
    assert np.isfinite(found).all()
    before = random(rows, width, seed=3)
    out = fused.to_panels(before)
    if not activate:
        fused.add_product(out, panels, weight, bias)
        close(fused.to_rows(out, rows), before + expected)


@pytest.mark.parametrize(("rows", "width"), [(1, 64), (200, 320)])
def test_normed(rows, width):
    x, norm = random(rows, width) * 3 + 40, random(2, width, seed=1)
    panels = fused.to_panels(x)
    exact = x.astype(float)
    mean, variance = exact.mean(1, keepdims=True), exact.var(1, keepdims=True)
    expected = (exact - mean) / np.sqrt(variance + 0.5) * norm[0] + norm[1]
    found = fused.normed(panels, norm, 0.5, room_for(panels, width))
    close(fused.to_rows(found, rows), expected)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (64, 64), (130, 65), (70, 300), (1000, 63)])
@pytest.mark.parametrize("spread_of_scores", [0.1, 1, 12])
def test_attend(queries, keys, spread_of_scores):
    """Scores from nearly equal to far apart, where sums are made anew relative to larger ones."""
    q, k, v = random(queries, 128) * spread_of_scores, random(keys, 128, seed=1), random(keys, 128, seed=2)
    panels = [fused.to_panels(x) for x in (q, k, v)]
    panels[1][:, keys:], panels[2][:, keys:] = 1e3, np.nan  # not there: not to be looked at
    found = fused.to_rows(fused.attend(*panels, keys, room_for(panels[0], 128)), queries)
    for head in (slice(0, 64), slice(64, 128)):
        scores = q[:, head].astype(float) @ k[:, head].T.astype(float) / 8
        weights = np.exp(scores - scores.max(1, keepdims=True))
        expected = weights / weights.sum(1, keepdims=True) @ v[:, head]
        close(found[:, head], expected)


def test_what_is_not_a_number_stays_in_its_row():
    x = random(130, 64)
    x[100, 3] = np.nan
    panels, weight = fused.to_panels(x), random(64, 64, seed=1)
    context = fused.to_panels(random(65, 64))
    for out in (
        fused.product(panels, weight, room_for(panels, 64), activate=True),
        fused.normed(panels, np.ones((2, 64), np.float32), 1e-6, room_for(panels, 64)),
        fused.attend(panels, context, context, 65, room_for(panels, 64)),
    ):
        assert np.isnan(fused.to_rows(out, 130)).any(1).nonzero()[0].tolist() == [100]


def test_scores_that_overflow_are_not_hidden():
    """Infinite scores give NaN, as a softmax of them does, and far-off but finite ones do not."""
    ones = np.ones((64, 64), np.float32)
    panels = fused.to_panels(1e18 * ones)
    assert np.isfinite(fused.attend(panels, panels, fused.to_panels(ones), 64, room_for(panels, 64))).all()
    panels = fused.to_panels(1e30 * ones)
    assert np.isnan(fused.attend(panels, panels, fused.to_panels(ones), 64, room_for(panels, 64))).all()


def test_arrays_begin_at_a_cache_line():
    for count in (1, 7, 1000):
        for array in (aligned_array(count), scratch(count)):
            assert array.shape == (count,) and array.ctypes.data % 64 == 0


@pytest.mark.parametrize(
    ("name", "wrong", "error", "said"),
    [
        ("x", lambda x: x.astype(np.float64), TypeError, "x is float64"),
        ("x", lambda x: x[:, ::2], TypeError, "x is not C-contiguous"),
        ("x", lambda x: x[:, :60].copy(), ValueError, "multiple of 64"),
        ("x", lambda x: x[0], ValueError, "expected (any, any, 64)"),
        ("weight", lambda weight: weight.astype(np.float16), TypeError, "weight is float16"),
        ("weight", lambda weight: weight[:, :64], ValueError, "expected (any, 128)"),
        ("bias", lambda bias: bias[:64], ValueError, "expected (192)"),
        ("out", lambda out: out[:2], ValueError, "expected (3, 128, 64)"),
        ("out", lambda out: out.transpose(0, 2, 1).copy().transpose(0, 2, 1), TypeError, "out is not C-contiguous"),
    ],
)
def test_arrays_that_do_not_fit(name, wrong, error, said):
    arrays = {"x": fused.to_panels(random(128, 128)), "weight": random(192, 128), "bias": random(192)}
    arrays["out"] = fused.panels(192, 128)
    fused.product(**arrays)
    with pytest.raises(error, match=re.escape(said)):
        fused.product(**{**arrays, name: wrong(arrays[name])})


def test_attention_of_arrays_that_do_not_fit():
    q, k = fused.to_panels(random(64, 128)), fused.to_panels(random(128, 128))
    for arrays, said in [
        ((q, k, k[:, :64].copy(), 64), "v has shape"),
        ((q, k[:1], k[:1], 64), "k has shape"),
        ((q, k, k, 129), "keys=129"),
        ((q, k, k, 0), "keys=0"),
    ]:
        with pytest.raises(ValueError, match=said):
            fused.attend(*arrays, fused.panels(128, 64))
