"""Our .ckpt against MindSpore's own reader and writer, and against files that lie."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlrm.checkpoint import read_tensors, write_ckpt
from openlrm.checkpoint.ckpt import read_ckpt
from openlrm.errors import UserError

ARRAYS = {
    "scalar": np.array(1.5, np.float32),
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "wide": np.array([1e300, -2.0]),
    "half": np.array([0.5], np.float16),
    "counter": np.array([2**40, -3]),
    "switch": np.array([True, False]),
    "byte": np.array([[255]], np.uint8),
}


def varint(value: int) -> bytes:
    value %= 1 << 64
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return bytes([8 * number + 2]) + varint(len(content)) + content


def value(name: bytes, dims: list[int], kind: bytes, content: bytes, packed: bool = False) -> bytes:
    """A value of checkpoint.proto, written out by hand."""
    sides = [varint(side) for side in dims]
    shape = field(1, b"".join(sides)) if packed else b"".join(b"\x08" + side for side in sides)
    return field(1, field(1, name) + field(2, shape + field(2, kind) + field(3, content)))


def assert_same(read: dict, expected: dict) -> None:
    assert set(read) == set(expected)
    for name, array in expected.items():
        assert read[name].dtype == array.dtype, name
        np.testing.assert_array_equal(read[name], array, name)


def test_mindspore_reads_what_we_write(tmp_path):
    write_ckpt(tmp_path / "a.ckpt", ARRAYS)
    assert_same({k: v.asnumpy() for k, v in ms.load_checkpoint(str(tmp_path / "a.ckpt")).items()}, ARRAYS)


@pytest.mark.parametrize("crc_check", [False, True])
def test_we_read_what_mindspore_writes(tmp_path, pynative, crc_check):
    entries = [{"name": name, "data": ms.Tensor(np.ascontiguousarray(array))} for name, array in ARRAYS.items()]
    bfloat = ms.Tensor(np.array([1.0, -2.5], np.float32)).astype(ms.bfloat16)
    entries.append({"name": "bfloat", "data": bfloat})
    words = {"epoch": ms.Tensor(3), "note": "text"}
    ms.save_checkpoint(entries, str(tmp_path / "a.ckpt"), append_dict=words, crc_check=crc_check)
    read = read_ckpt(tmp_path / "a.ckpt")
    assert int(read.pop("epoch")) == 3
    expected = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}
    expected["scalar"] = ARRAYS["scalar"]
    assert_same(read, expected | {"bfloat": np.array([1.0, -2.5], np.float32)})


def test_large_tensors_are_written_in_parts_that_both_read(tmp_path, monkeypatch):
    monkeypatch.setattr("openlrm.checkpoint.ckpt._SLICE_BYTES", 64)
    tensors = {"a": np.arange(40, dtype=np.float32).reshape(5, 8), "b": np.arange(3, dtype=np.float32)}
    write_ckpt(tmp_path / "a.ckpt", tensors)
    assert (tmp_path / "a.ckpt").read_bytes().count(b"Float32") == 4
    assert_same(read_ckpt(tmp_path / "a.ckpt"), tensors)
    assert_same({k: v.asnumpy() for k, v in ms.load_checkpoint(str(tmp_path / "a.ckpt")).items()}, tensors)


def test_packed_dimensions_are_read(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(value(b"w", [2, 2], b"Float32", bytes(16), packed=True))
    assert read_ckpt(tmp_path / "a.ckpt")["w"].shape == (2, 2)


HOSTILE = {
    # MindSpore's reader writes past the end of the tensor with the first two, and crashes.
    "more bytes than the shape": value(b"w", [1], b"Float32", bytes(1 << 20)),
    "more bytes than a scalar": value(b"w", [], b"Float32", bytes(1 << 20)),
    "fewer bytes than the shape": value(b"w", [1000], b"Float32", bytes(16)),
    "fewer bytes than an entry": value(b"w", [4], b"Float32", bytes(15)),
    "no bytes": value(b"w", [], b"Float32", b""),
    "a shape of exabytes": value(b"w", [10**9, 10**9], b"Float32", bytes(16)),
    "a shape that wraps around to 16 bytes": value(b"w", [1 << 62, 4, 4], b"Float32", bytes(64)),
    "a negative shape": value(b"w", [-4], b"Float32", bytes(16)),
    "two negative sides": value(b"w", [-2, -2], b"Float32", bytes(16)),
    "nothing by exabytes": value(b"w", [0, 1 << 62], b"Float32", b""),
    "too many sides": value(b"w", [1] * 200, b"Float32", bytes(4)),
    "too many packed sides": value(b"w", [1] * 200, b"Float32", bytes(4), packed=True),
    "an unknown type": value(b"w", [4], b"Object", bytes(16)),
    "a name that is no text": value(b"\xff\xfe", [4], b"Float32", bytes(16)),
    "one name twice": 2 * value(b"w", [4], b"Float32", bytes(16)),
    "one name twice, apart": b"".join(value(n, [1], b"Float32", bytes(4)) for n in (b"w", b"v", b"w")),
    "no tensor": field(1, field(1, b"w")),
    "a map tensor": field(1, field(1, b"w") + field(3, b"")),
    "no name": field(1, field(2, b"")),
    "no content": field(1, field(1, b"w") + field(2, b"\x08\x01" + field(2, b"Float32"))),
    "a number as value": b"\x08\x01",
    "a number without end": b"\x80" * 40,
    "groups": b"\x0b" * 5000,
    "a length beyond the end": b"\x0a" + varint(1 << 60) + b"w",
    "nested to the end": b"\x0a\x7f" * 100,
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
    "an empty checkpoint": b"",
    "a checksum alone": b"crc_num" + bytes(10),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_lies_is_refused(tmp_path, name):
    (tmp_path / "a.ckpt").write_bytes(HOSTILE[name])
    with pytest.raises(UserError, match="damaged MindSpore checkpoint"):
        read_tensors(tmp_path / "a.ckpt")


GOOD = b"".join(
    [
        value(b"w", [2, 3], b"Float32", np.arange(6, dtype="<f4").tobytes()),
        value(b"big", [4], b"Float32", bytes(8)),
        value(b"big", [4], b"Float32", bytes(8)),
        value(b"step", [0], b"Int64", bytes(8)),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_bytes_is_read_or_refused(tmp_path_factory, data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(1)
    path = tmp_path_factory.getbasetemp() / "fuzz.ckpt"
    path.write_bytes(content)
    try:
        tensors = read_ckpt(path)
    except UserError:
        return
    # Nothing is there that the file does not hold; bfloat16 and bool change their size.
    assert sum(array.nbytes for array in tensors.values()) <= 2 * len(content)
