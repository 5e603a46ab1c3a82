"""Shared fixtures: the golden miniature model, execution modes, where the shared data lies."""

import json
import logging
import os
import struct
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")

import numpy as np
import pytest
from hypothesis import settings

# The same examples every time; `pytest --hypothesis-profile=default` draws new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

REPO = Path(__file__).resolve().parents[1]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
SHARED = REPO.parent / "shared"


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """Arrays of golden.npz."""
    with np.load(GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository."""
    return REPO


@pytest.fixture(scope="session")
def freq_golden() -> dict[str, np.ndarray]:
    """Arrays of freqloss/golden.npz: frequencies, frequency loss, adapters."""
    with np.load(REPO / "tests" / "golden" / "freqloss" / "golden.npz") as arrays:
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
    logger = logging.getLogger("openlrm")
    level = logger.level
    yield
    logger.propagate = True
    logger.setLevel(level)


@pytest.fixture(scope="session")
def write_glb():
    """Writer of binary glTF: (path, document, arrays), the arrays being the document's accessors in their order.

    An array may be a tuple with what its accessor and its buffer view have besides.
    """

    def write(path: Path, document: dict, arrays=()) -> Path:
        components = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121, "int16": 5122, "int8": 5120}
        widths = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
        views, accessors, binary = [], [], b""
        for entry in arrays:
            array, besides, view = entry if isinstance(entry, tuple) else (entry, {}, {})
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes} | view)
            binary += array.tobytes() + bytes(-array.nbytes % 4)
            accessor = {"bufferView": len(accessors), "componentType": components[array.dtype.name]}
            accessor |= {"count": len(array), "type": widths[array.size // len(array)]}
            if array.size // len(array) == 3 and array.dtype == np.float32:
                accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
            accessors.append(accessor | besides)
        whole = {"asset": {"version": "2.0"}, "bufferViews": views, "accessors": accessors}
        whole |= {"buffers": [{"byteLength": len(binary)}]} | document
        text = json.dumps(whole).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path

    return write


@pytest.fixture(scope="session")
def data_workers():
    """(process id, this one's without it) -> its data workers: what Python's fork server has forked, not itself."""
    import psutil

    def workers(pid: int | None = None) -> set[psutil.Process]:
        own = psutil.Process(pid).children()
        servers = [child for child in own if "multiprocessing.forkserver" in " ".join(child.cmdline())]
        return {worker for server in servers for worker in server.children()}

    return workers


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
    from openlrm import ModelLRM

    return ModelLRM.from_pretrained(str(golden_dir))


@pytest.fixture(scope="session")
def mini_config() -> dict:
    """Constructor arguments of the miniature model."""
    return json.loads((GOLDEN / "config.json").read_text())
