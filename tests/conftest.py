"""Shared fixtures: the golden miniature model, execution modes, where the shared data lies."""

import json
import logging
import os
import struct
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")
# What a user has fetched changes no test.
os.environ["OPENLRM_ISNET"] = "/nowhere/isnet.onnx"

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


class Cube:
    """A coloured cuboid and its silhouettes: pictures whose cameras are known.

    Attributes:
        corners: (8, 3) world.
    """

    def __init__(self, half=(0.5, 0.4, 0.3), center=(0.0, 0.0, 0.0)):
        signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        self.corners = np.asarray(center) + signs * half

    def outline(self, camera, width: int, height: int) -> np.ndarray:
        """Convex outline (P, 2) of a camera of batch shape () in pixels, counter-clockwise as y goes up."""
        from scipy.spatial import ConvexHull

        uv, depth = camera.project(self.corners)
        assert (depth > 0).all()
        points = uv.astype(np.float64) * [width, height]
        return points[ConvexHull(points).vertices]

    def picture(self, camera, width: int, height: int, fine: int = 8) -> np.ndarray:
        """(H, W, 4) uint8: colours that change over the picture, alpha the share of a pixel that is covered."""
        hull = self.outline(camera, width, height)
        y, x = (np.mgrid[: height * fine, : width * fine] + 0.5) / fine
        inside = _outside(hull, np.stack([x, y], axis=-1)) <= 0
        alpha = inside.reshape(height, fine, width, fine).mean(axis=(1, 3))
        colour = np.stack([np.linspace(40, 200, width)[None].repeat(height, 0)] * 3, axis=-1) * [1, 0.6, 0.3]
        return np.concatenate([colour, 255 * alpha[..., None]], axis=-1).round().astype(np.uint8)

    def misfit(self, alpha: np.ndarray, camera) -> float:
        """Pixels between the outline that a camera gives and a silhouette (H, W) in [0, 1].

        The greater of: a corner of the outline from the nearest pixel that shows something; a pixel of which half is
        covered from the outline, beyond it.
        """
        height, width = alpha.shape
        hull = self.outline(camera, width, height)
        rows, columns = np.nonzero(alpha > 0.01)
        corners = np.clip(hull[:, None], np.stack([columns, rows], -1), np.stack([columns + 1, rows + 1], -1))
        reached = np.linalg.norm(corners - hull[:, None], axis=-1).min(axis=1).max()
        rows, columns = np.nonzero(alpha > 0.5)
        return float(max(reached, _outside(hull, np.stack([columns, rows], -1) + 0.5).max()))


def _outside(hull: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points (..., 2) from the sides of a convex outline; negative inside."""
    side = np.roll(hull, -1, axis=0) - hull
    normal = np.stack([side[:, 1], -side[:, 0]], axis=-1) / np.linalg.norm(side, axis=-1, keepdims=True)
    return ((points[..., None, :] - hull) * normal).sum(axis=-1).max(axis=-1)


@pytest.fixture
def cube() -> Cube:
    """A cuboid that fits in the cube [-1, 1]^3."""
    return Cube()
