"""PyTorch's zip files: what torch.save writes is read, what could run is refused."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.errors import UserError


class _Storage:
    """Pickled as PyTorch pickles a storage."""

    def __init__(self, kind, key, size):
        self.id = ("storage", kind, key, "cpu", size)


class _Call:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def stand_in(module, name):
    """A class that is pickled by that name."""
    return type(name, (), {"__module__": module, "__qualname__": name})


class _Pickler(pickle._Pickler):
    """Writes names without importing them, and storages as references."""

    def persistent_id(self, obj):
        return obj.id if isinstance(obj, _Storage) else None

    def save_global(self, obj, name=None):
        self.write(b"c" + f"{obj.__module__}\n{obj.__qualname__}\n".encode())
        self.memoize(obj)

    dispatch = dict(pickle._Pickler.dispatch) | {type: save_global}


FLOAT, HALF, BFLOAT, LONG = (stand_in("torch", f"{kind}Storage") for kind in ("Float", "Half", "BFloat16", "Long"))
REBUILD = stand_in("torch._utils", "_rebuild_tensor_v2")
ORDERED = stand_in("collections", "OrderedDict")


def tensor(kind, key, size, shape, strides, offset=0):
    return _Call(REBUILD, _Storage(kind, key, size), offset, shape, strides, False, _Call(ORDERED))


def write(path, content, storages):
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", stream.getvalue())
        for key, data in storages.items():
            archive.writestr(f"model/data/{key}", data)
        archive.writestr("model/version", "3\n")
    return path


@pytest.mark.parametrize("name", ["geolrm.ckpt", "x.pt", "x.bin"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_are_read(tmp_path, name, wrapped):
    floats = np.arange(6, dtype=np.float32)
    halves = np.array([0.5, -2], np.float16)
    bfloats = np.array([struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in (1.5, -3.0)], np.uint16)
    tensors = {
        "a": tensor(FLOAT, "0", 6, (2, 3), (3, 1)),
        "turned": tensor(FLOAT, "0", 6, (3, 2), (1, 3)),
        "part": tensor(FLOAT, "0", 6, (2,), (1,), 4),
        "half": tensor(HALF, "1", 2, (2,), (1,)),
        "bfloat": tensor(BFLOAT, "2", 2, (2,), (1,)),
        "count": tensor(LONG, "3", 1, (), ()),
    }
    content = {"state_dict": tensors, "epoch": 3, "hyper": [1.5, None, True]} if wrapped else tensors
    storages = {"0": floats.tobytes(), "1": halves.tobytes(), "2": bfloats.tobytes(), "3": np.int64(7).tobytes()}
    found = read_tensors(write(tmp_path / name, content, storages))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["part"].tolist() == [4, 5] and found["half"].tolist() == [0.5, -2]
    assert found["bfloat"].tolist() == [1.5, -3] and found["count"] == 7


def test_code_is_not_run(tmp_path, capsys):
    """A call becomes nothing; tensors beside it are read."""
    evil = _Call(stand_in("builtins", "print"), "run")
    with pytest.raises(UserError):
        read_tensors(write(tmp_path / "evil.ckpt", {"a": evil}, {}))
    content = {"a": evil, "b": tensor(FLOAT, "0", 1, (1,), (1,))}
    assert list(read_tensors(write(tmp_path / "both.ckpt", content, {"0": bytes(4)}))) == ["b"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("made", "storages", "words"),
    [
        (tensor(FLOAT, "0", 6, (4, 3), (3, 1)), {"0": bytes(24)}, "reaches beyond its 6 numbers"),
        (tensor(FLOAT, "0", 9, (2, 3), (3, 1)), {"0": bytes(24)}, "reaches beyond its 6 numbers"),
        (tensor(FLOAT, "1", 6, (2, 3), (3, 1)), {"0": bytes(24)}, "no item named"),
        (tensor(FLOAT, "0", 6, (2, -3), (3, 1)), {"0": bytes(24)}, "has shape"),
        (tensor(FLOAT, "0", 6, (2, 3), (3,)), {"0": bytes(24)}, "strides"),
        (tensor(stand_in("torch", "Evil"), "0", 6, (2, 3), (3, 1)), {"0": bytes(24)}, "a PyTorch file"),
        (_Call(REBUILD, "0", 0, (1,), (1,)), {}, "a PyTorch file"),
        (3, {}, "a PyTorch file"),
    ],
)
def test_what_is_damaged_is_told(tmp_path, made, storages, words):
    with pytest.raises(UserError, match=words) as told:
        read_tensors(write(tmp_path / "a.ckpt", {"a": made}, storages))
    assert "\n" not in str(told.value)
