"""Lightning's .ckpt: read as it is, nothing of its pickle run, lies about sizes refused."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.checkpoint.torch_archive import _interpret
from openlrm.errors import UserError

FOLDER = Path(__file__).parents[1] / "golden" / "instantmesh"
PREFIX = "lrm_generator."


def test_every_tensor_is_as_it_was_written():
    found = read_tensors(FOLDER / "lightning.ckpt")
    with np.load(FOLDER / "lightning_expected.npz") as expected:
        ours = {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}
        assert ours.keys() == set(expected.files)
        for name, value in ours.items():
            assert value.dtype == np.float32 and np.array_equal(value, expected[name]), name


def test_a_pickle_that_calls_something_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_tensors(FOLDER / "lightning_hostile.ckpt")
    assert list(found) == [f"{PREFIX}transformer.norm.weight"] and found[f"{PREFIX}transformer.norm.weight"].size == 4
    assert not list(tmp_path.iterdir())


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("pickle_was_run"),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_is_called_whatever_the_protocol(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    content = _interpret(pickle.dumps({"state_dict": {"a": [1, 2.5, "x", None, True, b"y"]}, "b": Trap()}, protocol))
    assert content["state_dict"]["a"][:5] == [1, 2.5, "x", None, True] and not isinstance(content["b"], Trap)
    assert not list(tmp_path.iterdir())


def rewritten(folder: Path, change) -> Path:
    """The golden file, `change(entries)` having changed the contents of its entries."""
    with zipfile.ZipFile(FOLDER / "lightning.ckpt") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    path = folder / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return path


def swap(old: bytes, new: bytes):
    def change(entries):
        assert entries["lightning/data.pkl"].count(old) >= 1
        entries["lightning/data.pkl"] = entries["lightning/data.pkl"].replace(old, new, 1)

    return change


LIES = {
    "a storage cut short": lambda entries: entries.update({"lightning/data/0": entries["lightning/data/0"][:100]}),
    "a storage missing": lambda entries: entries.pop("lightning/data/0"),
    "another shape": swap(b"K\x08K\x10\x86", b"K\x08K\xff\x86"),
    "other strides": swap(b"K\x10K\x01\x86", b"K\x10K\xff\x86"),
    "an offset": swap(b"QK\x00K\x08K\x10\x86", b"QK\xf0K\x08K\x10\x86"),
    "a pickle cut short": lambda entries: entries.update({"lightning/data.pkl": entries["lightning/data.pkl"][:-40]}),
    "big-endian": lambda entries: entries.update({"lightning/byteorder": b"big"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(tmp_path, lie):
    with pytest.raises(UserError, match="damaged PyTorch file") as told:
        read_tensors(rewritten(tmp_path, LIES[lie]))
    assert "\n" not in str(told.value)


def test_a_compressed_entry_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(FOLDER / "lightning.ckpt") as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    with pytest.raises(UserError, match="compressed"):
        read_tensors(path)


def test_views_of_the_same_numbers_do_not_multiply(tmp_path):
    """A thousand names of one tensor take no more memory than the file."""
    path = tmp_path / "a.ckpt"
    body = b"\x80\x02}("
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuM\x00\x10tQK\x00M\x00\x10\x85K\x01\x85\x89Nt\x52"
    )
    for number in range(200):
        name = f"{number:04d}".encode()
        body += b"X\x04\x00\x00\x00" + name + tensor
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", body + b"u.")
        archive.writestr("x/data/0", bytes(4 * 4096))
    with pytest.raises(UserError, match="many times what the file holds"):
        read_tensors(path)
