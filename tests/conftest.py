"""Shared fixtures: the golden miniature model, execution modes, where the shared data lies."""

import json
import logging
import os
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[1]
GOLDEN = REPO / "tests" / "golden"
SHARED = REPO.parent / "shared"


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """Arrays of golden.npz."""
    with np.load(GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """A release folder with the miniature model (config.json + model.safetensors)."""
    return GOLDEN


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared data beside the repository; tests that want it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    return SHARED


@pytest.fixture(autouse=True)
def _log_propagates():
    """Leave the project's log as a test finds it: pytest listens at loggers that do not propagate, and at the root."""
    yield
    logging.getLogger("openlrm").propagate = True
    logging.getLogger("openlrm").setLevel(logging.NOTSET)


@pytest.fixture
def pynative():
    """PyNative mode on a CPU."""
    from openlrm.ops import setup_device

    setup_device("CPU", 1)


@pytest.fixture(params=[1, 0], ids=["pynative", "graph"])
def mode(request) -> int:
    """Run a test in PyNative and in graph mode."""
    from openlrm.ops import setup_device

    setup_device("CPU", request.param)
    yield request.param
    setup_device("CPU", 1)


@pytest.fixture
def mini(golden_dir):
    """The miniature model with its golden weights, in inference state."""
    from openlrm.models import ModelLRM

    return ModelLRM.from_pretrained(str(golden_dir))


@pytest.fixture(scope="session")
def mini_config() -> dict:
    """Constructor arguments of the miniature model."""
    return json.loads((GOLDEN / "config.json").read_text())
