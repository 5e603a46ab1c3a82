"""Products in bfloat16 against numpy, and what stands for them where the processor has no such instruction."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from openlrm.ops import fused, half
from openlrm.ops.half import pack_half, product_half
from openlrm.ops.host import bf16

erf = np.vectorize(math.erf)
needs_bf16 = pytest.mark.skipif(not bf16.is_available(), reason="this processor has no avx512_bf16")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """To the nearest bfloat16, ties to the even one: the upper half of a float32's bits."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


def unpacked(weight: half.PackedWeight) -> np.ndarray:
    """(N, K) of the numbers of a packed weight."""
    pairs = weight.numbers.view(np.uint16).reshape(-1, weight.inputs // 2, 32, 2)
    numbers = (pairs.astype(np.uint32) << 16).view(np.float32)
    return numbers.transpose(0, 2, 1, 3).reshape(weight.outputs, weight.inputs)


def expected_product(x, weight, bias, activate, before):
    exact = rounded(x).astype(float) @ rounded(weight).T.astype(float) + bias
    if before is not None:
        exact = before + exact
    return 0.5 * exact * (1 + erf(exact / math.sqrt(2))) if activate else exact


@needs_bf16
@pytest.mark.parametrize("rows", [1, 64, 130, 1100])
@pytest.mark.parametrize(("inner", "width"), [(64, 192), (192, 64), (576, 128)])
@pytest.mark.parametrize(("activate", "onto"), [(False, False), (True, False), (False, True), (True, True)])
def test_product(rows, inner, width, activate, onto):
    x, weight, bias = random(rows, inner), random(width, inner, seed=1) / 8, random(width, seed=2)
    before = random(rows, width, seed=3)
    packed = pack_half(weight)
    assert packed.is_half and packed.numbers.nbytes == weight.nbytes // 2
    for offset in (bias, np.empty(0, np.float32)):
        out = fused.to_panels(before)
        if not onto:
            out[...] = np.nan
        assert product_half(fused.to_panels(x), packed, out, offset, activate, onto) is out
        expected = expected_product(x, weight, offset if len(offset) else 0, activate, before if onto else None)
        np.testing.assert_allclose(fused.to_rows(out, rows), expected, rtol=0, atol=2e-5)


@needs_bf16
def test_the_product_is_near_that_in_float32():
    """A number m 2^e, 1 <= m < 2, is off by 2^-7 / sqrt(12) 2^e: by 1.6e-3 of itself for the m of normal numbers.

    So is each factor, independently: 2.3e-3 of a product's root mean square.
    """
    x, weight = random(256, 512), random(128, 512, seed=1)
    panels = fused.to_panels(x)
    exact = fused.product(panels, weight, fused.panels(128, 256))
    found = product_half(panels, pack_half(weight), fused.panels(128, 256))
    error = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))
    assert error == pytest.approx(2.3e-3, rel=0.1)


@needs_bf16
def test_rounding_of_a_weight():
    """Ties go to the even number; infinities and what is not a number stay; what is too large becomes infinite."""
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20], np.float32)
    weight = random(64, 64) * 10.0 ** np.random.default_rng(1).integers(-30, 30, size=(64, 64)).astype(np.float32)
    weight[0, :4] = ties
    weight[1, :4] = np.inf, -np.inf, 0, np.finfo(np.float32).max
    found = unpacked(pack_half(weight))
    np.testing.assert_array_equal(found, rounded(weight))
    assert found[0, :4].tolist() == [1, 1 + 2**-6, -1, 1 + 2**-7] and found[1, 3] == np.inf
    weight[2, 5] = np.nan
    assert np.isnan(unpacked(pack_half(weight))).nonzero() == (2, 5)


@needs_bf16
def test_what_is_not_a_number_stays_in_its_row():
    x = random(130, 64)
    x[100, 3] = np.nan
    out = product_half(fused.to_panels(x), pack_half(random(64, 64, seed=1)), fused.panels(64, 130), activate=True)
    assert np.isnan(fused.to_rows(out, 130)).any(1).nonzero()[0].tolist() == [100]


def test_without_the_instruction(monkeypatch, caplog):
    """The same as in float32, and one line in the log."""
    monkeypatch.setattr(bf16, "is_available", lambda: False)
    half._tell_once.cache_clear()
    x, weight, bias = fused.to_panels(random(130, 128)), random(64, 128, seed=1), random(64, seed=2)
    packed = pack_half(weight)
    pack_half(weight)
    assert not packed.is_half
    assert [record.message for record in caplog.records] == [
        "this processor has no bfloat16 products (avx512_bf16): they are computed in float32"
    ]
    found = product_half(x, packed, fused.panels(64, 130), bias, activate=True)
    np.testing.assert_array_equal(found, fused.product(x, weight, fused.panels(64, 130), bias, activate=True))
    fused.add_product(found, x, weight)
    again = product_half(x, packed, fused.panels(64, 130), bias, activate=True)
    np.testing.assert_array_equal(product_half(x, packed, again, onto=True), found)


def test_a_compiler_told_of_another_processor(tmp_path):
    """What the compiler may use counts: it would end the process at an instruction it was told not to know."""
    script = (
        "import numpy as np; from openlrm.ops import fused; from openlrm.ops.half import pack_half, product_half\n"
        "weight = pack_half(np.ones((64, 64), np.float32)); x = fused.to_panels(np.ones((64, 64), np.float32))\n"
        "assert not weight.is_half and (product_half(x, weight, fused.panels(64, 64)) == 64).all()\n"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "wrong", "error", "said"),
    [
        ("x", lambda x: x[:1], ValueError, "x has shape"),
        ("x", lambda x: x.astype(np.float16), TypeError, "x is float16"),
        ("out", lambda out: out[:, :64].copy(), ValueError, "out has shape"),
        ("bias", lambda bias: bias[:64], ValueError, "bias has shape"),
    ],
)
def test_arrays_that_do_not_fit(name, wrong, error, said):
    arrays = {"x": fused.to_panels(random(128, 128)), "out": fused.panels(192, 128), "bias": random(192)}
    with pytest.raises(error, match=said):
        product_half(**{**arrays, name: wrong(arrays[name])}, weight=pack_half(random(192, 128)))
    for weight in (random(192, 130), random(100, 128)):
        with pytest.raises(ValueError, match="multiples of 64"):
            pack_half(weight)
