"""The strict stand-in of an NPU as a fixture, and models of the shapes that its kernels know."""

import importlib.util
import sys
from pathlib import Path

import pytest

from openlrm.ops import setup_device

HERE = Path(__file__).parent


def load(name: str):
    """A module beside this file; the tests are no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


calls, npu_module = load("calls"), load("npu")


@pytest.fixture
def npu(pynative, monkeypatch):
    """Call it to put the stand-in in place; gives its record."""
    yield lambda: npu_module.NPU().install(monkeypatch)
    monkeypatch.undo()
    setup_device("CPU", 1)
