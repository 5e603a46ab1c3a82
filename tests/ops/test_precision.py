"""Which parameters bfloat16 reaches, when it is refused, and the linear layers that are not fused."""

import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.nn.transformer import MultiHeadAttention
from openlrm.ops import LayerNorm, Linear, fused, set_precision
from openlrm.ops import precision as module
from openlrm.ops.host import bf16
from openlrm.ops.precision import product_weights

pytestmark = pytest.mark.usefixtures("pynative")
needs_bf16 = pytest.mark.skipif(not bf16.is_available(), reason="this processor has no avx512_bf16")


def make() -> nn.CellList:
    return nn.CellList([Linear(128, 64), LayerNorm(64), Linear(64, 100), MultiHeadAttention(64, 1, 128)])


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@needs_bf16
def test_weights_of_products_alone_and_under_their_names():
    cells = make()
    names = [(name, parameter.shape) for name, parameter in cells.parameters_and_names()]
    assert set_precision([cells], "bf16") == "bf16"
    assert [(name, parameter.shape) for name, parameter in cells.parameters_and_names()] == names
    half = {name for name, parameter in cells.parameters_and_names() if parameter.dtype == ms.bfloat16}
    projections = {f"3.{letter}_proj_weight" for letter in "qkv"}
    assert half == {"0.weight", "3.out_proj.weight"} | projections == set(product_weights(cells))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_float32_on_a_cpu_unless_asked_for(precision):
    cells = make()
    assert set_precision([cells], precision) == "fp32"
    assert {parameter.dtype for parameter in cells.get_parameters()} == {ms.float32}


def test_auto_on_ascend(monkeypatch):
    monkeypatch.setattr(module, "on_ascend", lambda: True)
    assert set_precision([make()], "auto") == "bf16"
    assert set_precision([], "auto") == "fp32"


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [
        (lambda patch: patch.setattr(bf16, "is_available", lambda: False), "lacks avx512_bf16; float32 is used"),
        (lambda patch: ms.set_context(mode=ms.GRAPH_MODE), "needs mode=1 .PyNative.; float32 is used"),
    ],
    ids=["no instruction", "graph mode"],
)
def test_what_stands_against_it_is_told(obstacle, said, monkeypatch, caplog):
    obstacle(monkeypatch)
    cells = make()
    assert set_precision([cells], "bf16") == "fp32"
    assert {parameter.dtype for parameter in cells.get_parameters()} == {ms.float32}
    assert re.search(said, caplog.text)


def test_a_model_without_such_products(caplog):
    assert set_precision([nn.CellList([Linear(100, 64)])], "bf16") == "fp32"
    assert "no products of such widths; float32 is used" in caplog.text


def test_an_unknown_word():
    with pytest.raises(UserError, match="precision=int4 is not known. use one of auto, fp32, bf16"):
        set_precision([make()], "int4")


@needs_bf16
@pytest.mark.parametrize("rows", [5, 130], ids=["kernel", "compiled loops"])
def test_linear_layers_that_are_not_fused(rows):
    layer, x = Linear(192, 128), Tensor(random(rows, 192))
    exact = layer(x).asnumpy()
    set_precision([layer], "bf16")
    found = layer(x)
    assert found.dtype == ms.float32
    error = np.sqrt(np.mean((found.asnumpy() - exact) ** 2) / np.mean(exact**2))
    assert 5e-4 < error < 3e-3


@needs_bf16
@pytest.mark.parametrize(("queries", "keys"), [(130, 37), (64, 64), (320, 257), (5, 1)])
def test_attention(queries, keys):
    """Scores are off by 2.3e-3 of their size, weights and values by 1.6e-3 of theirs: the result by less than 1 %."""
    q, k, v = (random(2, rows, 64, seed=rows + place) for place, rows in enumerate((queries, keys, keys)))
    rows = [np.ascontiguousarray(np.pad(x, ((0, 0), (0, -len(x[0]) % 64), (0, 0)))) for x in (2 * q, k, v)]
    out = fused.attend(*rows, keys, np.full_like(rows[0], np.nan), half=True)[:, :queries]
    scores = 2 * np.einsum("hqd,hkd->hqk", q.astype(float), k) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    exact = np.einsum("hqk,hkd->hqd", weights / weights.sum(-1, keepdims=True), v)
    assert np.sqrt(np.mean((out - exact) ** 2) / np.mean(exact**2)) < 1e-2


@needs_bf16
def test_attention_of_large_scores():
    """A maximum that moves from tile to tile, and one score far above all others."""
    q, k, v = (
        random(1, 64, 64),
        np.repeat(np.linspace(0, 4, 256, dtype=np.float32)[:, None], 64, 1)[None],
        random(1, 256, 64),
    )
    k[0, -1] = 6  # 4 and the one before it are the same in bfloat16
    q = np.abs(q) * 20
    out = fused.attend(q, k, v, 256, np.empty_like(q), half=True)
    np.testing.assert_allclose(out[0], np.repeat(v[0, -1:], 64, 0), rtol=1e-2, atol=2e-2)


@needs_bf16
def test_what_is_not_a_number_stays_in_its_query():
    q, k, v = random(1, 128, 64), random(1, 64, 64, seed=1), random(1, 64, 64, seed=2)
    q[0, 70, 3] = np.nan
    out = fused.attend(q, k, v, 64, np.empty_like(q), half=True)
    assert np.isnan(out[0]).any(1).nonzero()[0].tolist() == [70]
