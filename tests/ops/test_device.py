"""The choice of a device; the Ascend path's arithmetic is in tests/ascend."""

import subprocess
import sys

import mindspore as ms
import pytest

from openlrm.errors import UserError
from openlrm.ops import device, setup_device
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
    chosen, rounding = [], []
    monkeypatch.setattr(device.glob, "glob", lambda pattern: files)
    monkeypatch.setattr(ms.hal, "is_available", lambda target: opens)
    monkeypatch.setattr(ms, "set_device", chosen.append)
    monkeypatch.setattr(device, "_selected", [])
    monkeypatch.setattr(ms.device_context.ascend.op_precision, "conv_allow_hf32", rounding.append)
    assert setup_device() == expected
    assert setup_device() == expected
    assert chosen == [expected], "MindSpore is told once"
    assert rounding == ([False] if expected == "Ascend" else []), "float32 convolutions stay float32"


@pytest.mark.parametrize(("target", "arguments"), [("Ascend", ("Ascend", 3)), ("CPU", ("CPU",))])
def test_the_npu_can_be_chosen(target, arguments, monkeypatch):
    chosen = []
    monkeypatch.setattr(device.glob, "glob", lambda pattern: ["x"])
    monkeypatch.setattr(ms.hal, "is_available", lambda target: True)
    monkeypatch.setattr(ms, "set_device", lambda *given: chosen.append(given))
    monkeypatch.setattr(device, "_selected", [])
    monkeypatch.setattr(ms.device_context.ascend.op_precision, "conv_allow_hf32", lambda value: None)
    assert setup_device(target, device_id=3) == target
    assert chosen == [arguments]


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
