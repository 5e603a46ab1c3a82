"""The choice of a device, and the Ascend path's arithmetic run on a CPU."""

import math
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from openlrm.errors import UserError
from openlrm.nn.transformer import MultiHeadAttention
from openlrm.ops import device, gelu, setup_device, sort_by_depth
from openlrm.ops.device import on_ascend


@pytest.fixture(autouse=True)
def _pynative_afterwards():
    setup_device("CPU", 1)
    yield
    setup_device("CPU", 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("CPU", 2), "mode=2 .*mode=0 .graph. or mode=1"),
        (("GPU", 1), "device_target=GPU .*Ascend, CPU"),
        (("Ascend", 1), "no Ascend NPU was found.*device_target=CPU"),
    ],
)
def test_refused(arguments, words, monkeypatch):
    monkeypatch.setattr(device.glob, "glob", lambda pattern: [])
    with pytest.raises(UserError, match=words):
        setup_device(*arguments)
    assert ms.get_context("mode") == ms.PYNATIVE_MODE, "nothing has changed"


def test_modes():
    assert setup_device("CPU", 0) == "CPU"
    assert ms.get_context("mode") == ms.GRAPH_MODE
    assert setup_device("CPU") == "CPU"
    assert ms.get_context("mode") == ms.PYNATIVE_MODE
    assert not on_ascend()


@pytest.mark.parametrize(
    ("files", "opens", "expected"), [([], True, "CPU"), (["x"], False, "CPU"), (["x"], True, "Ascend")]
)
def test_the_best_device_is_chosen(files, opens, expected, monkeypatch):
    """An Ascend needs its device file and a driver that MindSpore can open."""
    chosen = []
    monkeypatch.setattr(device.glob, "glob", lambda pattern: files)
    monkeypatch.setattr(ms.hal, "is_available", lambda target: opens)
    monkeypatch.setattr(ms, "set_device", chosen.append)
    monkeypatch.setattr(device, "_selected", [])
    assert setup_device() == expected
    assert setup_device() == expected
    assert chosen == [expected], "MindSpore is told once"


def test_another_device_in_the_same_process(monkeypatch):
    monkeypatch.setattr(device.glob, "glob", lambda pattern: ["x"])
    monkeypatch.setattr(ms.hal, "is_available", lambda target: True)
    with pytest.raises(UserError, match="device_target=Ascend, but this process works on CPU. start another"):
        setup_device("Ascend")
    assert setup_device("CPU") == "CPU"


def test_after_other_work_with_mindspore():
    script = (
        "import mindspore as ms, numpy as np\n"
        "x = ms.Tensor(np.ones((3, 3), np.float32)); assert (x @ x).sum() == 27\n"
        "from openlrm.ops import gelu, setup_device\n"
        "assert setup_device('CPU') == 'CPU' and setup_device('CPU', 0) == 'CPU'\n"
        "assert ms.get_context('mode') == ms.GRAPH_MODE and abs(gelu(x)[0, 0] - 0.841345) < 1e-5\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def ascend(monkeypatch) -> list[dict]:
    """Let every op take its Ascend path; the fused attention is replaced by its definition. Returns its calls."""
    calls = []

    def flash_attention_score(query, key, value, head_num, scalar_value=1.0, input_layout="BSH"):
        assert input_layout == "BSH"
        calls.append({"query": query.shape, "key": key.shape, "value": value.shape, "heads": head_num})
        samples, length, width = query.shape
        q, k, v = (
            x.asnumpy().astype(float).reshape(samples, -1, head_num, width // head_num).transpose(0, 2, 1, 3)
            for x in (query, key, value)
        )
        scores = np.exp(q @ k.transpose(0, 1, 3, 2) * scalar_value)
        out = scores / scores.sum(-1, keepdims=True) @ v
        return Tensor(out.transpose(0, 2, 1, 3).reshape(samples, length, width).astype(np.float32))

    def pretend() -> list[dict]:
        names = [name for name in sys.modules if name.startswith("openlrm.ops.") and name != device.__name__]
        patched = [sys.modules[name] for name in names if hasattr(sys.modules[name], "on_ascend")]
        assert len(patched) >= 4, "attention, layers, numeric, sampling"
        for module in patched:
            monkeypatch.setattr(module, "on_ascend", lambda: True)
        monkeypatch.setattr(ops, "flash_attention_score", flash_attention_score)
        return calls

    return pretend


@pytest.mark.parametrize("width", [12, 8], ids=["packed", "split"])
def test_attention(ascend, width):
    """Layout (batch, sequence, hidden) for the fused kernel, and the same numbers at the end."""
    rng = np.random.default_rng(0)
    cell = MultiHeadAttention(12, 3, width)
    x, context = (Tensor(rng.normal(size=s).astype(np.float32)) for s in ((2, 5, 12), (2, 7, width)))
    expected = cell(x, context).asnumpy()
    calls = ascend()
    np.testing.assert_allclose(cell(x, context).asnumpy(), expected, rtol=0, atol=2e-6)
    assert calls == [{"query": (2, 5, 12), "key": (2, 7, 12), "value": (2, 7, 12), "heads": 3}]


def test_encoder_attention(ascend, mini, golden):
    """Projections with a bias."""
    expected = mini.encoder(Tensor(golden["image"])).asnumpy()
    calls = ascend()
    np.testing.assert_allclose(mini.encoder(Tensor(golden["image"])).asnumpy(), expected, rtol=0, atol=1e-5)
    assert len(calls) == 2


def test_sorting(ascend):
    depths = np.random.default_rng(1).uniform(size=(30, 24)).astype(np.float32)
    ascend()
    values, order = sort_by_depth(Tensor(depths))
    assert np.array_equal(values.asnumpy(), np.sort(depths, axis=1))
    assert order.dtype == ms.int32
    assert np.array_equal(order.asnumpy(), np.argsort(depths, axis=1))


def test_gelu(ascend):
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    expected = [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x]
    ascend()
    np.testing.assert_allclose(gelu(Tensor(x)).asnumpy(), expected, rtol=0, atol=1e-6)


def test_whole_model(ascend, mini, golden):
    """Planes and pictures through grid_sample, sort and the fused attention are those of the CPU path."""

    def run() -> list[np.ndarray]:
        planes = mini.forward_planes(Tensor(golden["image"]), Tensor(golden["source_camera"]))
        cameras = [Tensor(golden[f"render_{key}"]) for key in ("cameras", "anchors", "resolutions", "bg_colors")]
        views = mini.synthesizer(planes, *cameras, 12)
        return [planes.asnumpy(), *(views[key].asnumpy() for key in ("images_rgb", "images_depth", "images_weight"))]

    expected = run()
    assert len(ascend()) == 0
    for ours, theirs in zip(run(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5 * np.abs(theirs).max())
