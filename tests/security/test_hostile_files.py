"""Pictures, cameras, weights, lists and packs from strangers: read, or refused in one line."""

import ast
import io
import json
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openlrm.checkpoint import read_tensors
from openlrm.datasets import list_uids, read_object
from openlrm.datasets.objaverse import check_uid
from openlrm.errors import UserError
from openlrm.representations.triplane import load_triplane, save_triplane
from openlrm.utils.images import load_image, load_pixels, load_rgba

REPO = Path(__file__).resolve().parents[2]


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Some bytes changed, put in or taken out; or the file cut short."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["set", "insert", "delete", "cut"]))
        if change == "set":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=4))
        elif change == "delete":
            del data[at : at + draw(st.integers(0, 8))]
        else:
            del data[max(at, len(data) // 2) :]
    return bytes(data)


def refused(read, *arguments) -> str | None:
    """The one line of a refusal; None when it was read. Anything else is a failure."""
    try:
        read(*arguments)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


def encoded(kind: str, mode: str = "RGBA", **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def sixteen_bit() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (9, 7), np.uint16)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {
    "png": encoded("PNG"),
    "palette": encoded("PNG", "P"),
    "16 bit": sixteen_bit(),
    "jpeg": encoded("JPEG", "RGB", exif=Image.Exif().tobytes()),
    "cmyk": encoded("JPEG", "CMYK", progressive=True),
    "webp": encoded("WEBP", lossless=True),
    "lossy webp": encoded("WEBP", "RGB"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_pictures_that_are_damaged_below_are_good(tmp_path, kind):
    (tmp_path / "a").write_bytes(PICTURES[kind])
    assert load_image(tmp_path / "a").shape == (9, 7, 3)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PICTURES)).flatmap(lambda kind: damaged(PICTURES[kind])))
def test_any_picture_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "picture"
    path.write_bytes(content)
    for load in (load_image, load_rgba):
        refused(load, path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + end


def webp(width: int, height: int) -> bytes:
    """A WebP that claims a canvas and holds nothing."""
    canvas = struct.pack("<I", 0)[:4] + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with another size in its header."""
    content = bytearray(encoded("JPEG", "RGB"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


ZEROS = zlib.compress(bytes(1 << 26), 1)
"""64 MiB once unpacked; Pillow's own limit for texts is 1 MiB."""

BOMBS = {
    "png": png(30_000, 30_000),
    "wide png": png(2**31 - 1, 1),
    "jpeg": jpeg(30_000, 30_000),
    "webp": webp(16_000, 16_000),
    "text": png(8, 8, chunk(b"zTXt", b"a\0\0" + ZEROS)),
    "profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + ZEROS)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_without_the_memory_they_ask_for(tmp_path, kind):
    (tmp_path / "bomb").write_bytes(BOMBS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = refused(load_image, tmp_path / "bomb")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert line
    assert grown < 50, f"{grown:.0f} MiB for a picture that was refused"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_that_were_opened_elsewhere_are_held_to_the_same():
    """Opening decodes nothing: a picture of Pillow's can still be anything."""
    assert "100 million" in refused(load_pixels, Image.open(io.BytesIO(png(12_000, 12_000))))
    assert "damaged" in refused(load_pixels, Image.open(io.BytesIO(PICTURES["png"][:-40])))


def stored(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


POSE = stored(np.array([[1, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0]], np.float64))
INTRINSICS = stored(np.array([[6.0, 6.0], [4.0, 4.0], [8.0, 8.0]]))


@pytest.fixture(scope="module")
def one_object(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "cup"
    for kind in ("rgba", "pose"):
        (folder / kind).mkdir(parents=True)
    Image.fromarray(np.full((8, 8, 4), 200, np.uint8), "RGBA").save(folder / "rgba" / "000.png")
    (folder / "pose" / "000.npy").write_bytes(POSE)
    (folder / "intrinsics.npy").write_bytes(INTRINSICS)
    return folder


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.data())
def test_any_camera_is_read_or_refused(one_object, in_pose, data):
    pose = data.draw(damaged(POSE)) if in_pose else POSE
    intrinsics = INTRINSICS if in_pose else data.draw(damaged(INTRINSICS))
    (one_object / "pose" / "000.npy").write_bytes(pose)
    (one_object / "intrinsics.npy").write_bytes(intrinsics)

    def read() -> None:
        c2w = read_object(one_object.parent, "cup").read_pose(0)
        assert c2w.shape == (3, 4) and np.isfinite(c2w).all()

    refused(read)


ENDLESS = np.array([[1.0, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0]])


@pytest.mark.parametrize("place", [(0, 3), (0, 0), (1, 2)])
@pytest.mark.parametrize("value", [1e39, -1e200, np.nan, np.inf])
def test_a_pose_whose_numbers_are_endless_is_refused(one_object, place, value):
    pose = ENDLESS.copy()
    pose[place] = value
    pose[1, 0] = 1e200 if place != (0, 3) else 0  # infinity minus infinity is no large number
    (one_object / "pose" / "000.npy").write_bytes(stored(pose))
    (one_object / "intrinsics.npy").write_bytes(INTRINSICS)
    assert refused(read_object(one_object.parent, "cup").read_pose, 0)
    (one_object / "intrinsics.npy").write_bytes(stored(np.array([[6.0, 6.0], [4.0, 4.0], [1e-300, 8.0]])))
    assert "NaN or infinity" in refused(read_object, one_object.parent, "cup")


def npy(header: str) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(96)


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (400000000,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 4)}"),
        npy("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (1,)}"),
        npy("__import__('os').system('touch owned')"),
        npy("(" * 110),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 4096,
        b"PK\x03\x04" + bytes(100),  # np.load would open it as an archive
        b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
        POSE + bytes(1 << 20),
    ],
    ids=range(11),
)
def test_hostile_arrays_are_refused(one_object, content, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (one_object / "pose" / "000.npy").write_bytes(content)
    (one_object / "intrinsics.npy").write_bytes(INTRINSICS)
    assert refused(read_object(one_object.parent, "cup").read_pose, 0)
    assert not (tmp_path / "owned").exists()


def safetensors(header: bytes, size: int | None = None, data: bytes = bytes(16)) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + data


def entry(dtype: str = "F32", shape: str = "[4]", offsets: str = "[0,16]", more: str = "") -> bytes:
    return f'{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}{more}}}'.encode()


HEADERS = {
    "a header of exabytes": safetensors(entry(), 2**63),
    "a header beyond the end": safetensors(entry(), 10**6),
    "a shape of exabytes": safetensors(entry(shape="[1000000000,1000000000]")),
    "a shape that wraps around": safetensors(entry(shape="[4611686018427387905,4]")),
    "a negative shape": safetensors(entry(shape="[-4]")),
    "bytes beyond the end": safetensors(entry(shape="[1000]", offsets="[0,4000]")),
    "bytes backwards": safetensors(entry(offsets="[16,0]")),
    "bytes twice": safetensors(entry(more=',"v":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}')),
    "bytes of nobody": safetensors(entry(), data=bytes(32)),
    "an unknown type": safetensors(entry("OBJ")),
    "a type we do not read": safetensors(entry("F8_E4M3", "[16]")),
    "nested": safetensors(b"[" * 100_000),
    "no JSON": safetensors(b"\x80\x04cos\nsystem\n"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_safetensors_are_refused(tmp_path, name):
    (tmp_path / "w.safetensors").write_bytes(HEADERS[name])
    assert refused(read_tensors, tmp_path / "w.safetensors")


GOOD = safetensors(entry(more=',"v":{"dtype":"BF16","shape":[2,2],"data_offsets":[16,24]}'), data=bytes(24))


def test_the_safetensors_file_that_is_damaged_below_is_good(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(GOOD)
    assert {name: array.shape for name, array in read_tensors(tmp_path / "w.safetensors").items()} == {
        "w": (4,),
        "v": (2, 2),
    }


@settings(max_examples=100, deadline=None)
@given(damaged(GOOD))
def test_any_safetensors_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "w.safetensors"
    path.write_bytes(content)
    refused(read_tensors, path)


@pytest.mark.parametrize("samples", ["9999999999", "9" * 5000, "²", "-8", "8.0", "", "7"])
def test_a_triplane_cannot_ask_for_endless_samples(tmp_path, mini, samples):
    from mindspore import Tensor

    path = tmp_path / "a.safetensors"
    save_triplane(path, Tensor(np.zeros((1, 3, 8, 4, 4), np.float32)), mini.synthesizer)
    assert refused(load_triplane, path) is None
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["rendering_samples_per_ray"] = samples
    path.write_bytes(safetensors(json.dumps(header).encode(), data=content[8 + size :]))
    assert "rendering_samples_per_ray" in refused(load_triplane, path)


OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "..", ".", "", "a\0b", "C:\\x", "..\\x", "\\\\host\\share", "a/..\\../x"]


@pytest.mark.parametrize("uid", OUTSIDE)
def test_a_uid_cannot_leave_its_folder(tmp_path, uid):
    with pytest.raises(UserError, match="does not stay inside"):
        check_uid(uid, "list")
    (tmp_path / "meta.json").write_text(json.dumps(["cup", uid]))
    assert "does not stay inside" in refused(list_uids, tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "C:", "~", " ", "\n"]), max_size=8).map("".join))
def test_a_uid_that_is_taken_stays_below_the_root(uid):
    if refused(check_uid, uid, "list") is None:
        root = Path("/data/set")
        inside = Path(str(root / uid)).parts[len(root.parts) :]
        depth = [part != ".." for part in inside]
        assert inside and all(depth)
        assert not uid.startswith(("/", "\\"))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 5000, "{}", "[]", "[1]", '"cup"', "nul", '["cup", null]', "\xff"]
)
def test_hostile_lists_are_refused(tmp_path, text):
    (tmp_path / "meta.json").write_bytes(text.encode("latin-1"))
    assert refused(list_uids, tmp_path)


GOOD_ENTRY = {"file": "objects-00000.mindrecord", "key": "00000000", "views": 1, "intrinsics": [[6, 6], [4, 4], [8, 8]]}


@pytest.mark.parametrize(
    ("uid", "changes"),
    [
        ("../cup", {}),
        ("cup", {"file": "../../elsewhere.mindrecord"}),
        ("cup", {"file": "/etc/passwd"}),
        ("cup", {"file": 5}),
        ("cup", {"key": "0' OR '1'='1"}),  # MindRecord puts it into its query as it is
        ("cup", {"views": 10**12}),
        ("cup", {"views": -1}),
        ("cup", {"views": ["../../x"]}),
        ("cup", {"views": {"a": 1}}),
        ("cup", {"intrinsics": [[1], [2, 3]]}),
        ("cup", {"intrinsics": "x"}),
    ],
)
def test_hostile_packs_are_refused(tmp_path, uid, changes):
    from openlrm.datasets.mindrecord import open_pack

    (tmp_path / "pack.json").write_text(json.dumps({"format": 1, "objects": {uid: GOOD_ENTRY | changes}}))
    assert refused(open_pack, tmp_path)
    for text in ("[" * 100_000, "[]", '{"format": 1}', '{"format": 1, "objects": [1]}', '{"format": {}}'):
        (tmp_path / "again").mkdir(exist_ok=True)
        (tmp_path / "again" / "pack.json").write_text(text)
        assert refused(open_pack, tmp_path / "again")


def test_no_reader_runs_code():
    """No module of ours calls what executes or unpickles; the one unpickling is of our own worker's answer."""
    dangerous = {"eval", "exec", "compile", "__import__"}
    pickles = {"load", "loads", "Unpickler"}
    found = []
    for path in sorted((REPO / "openlrm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            module, _, attribute = name.rpartition(".")
            unsafe_yaml = module == "yaml" and attribute not in ("safe_load", "safe_dump")
            if (
                name in dangerous
                or unsafe_yaml
                or (attribute in pickles and module in ("pickle", "torch", "dill", "joblib"))
            ):
                found.append(f"{path.relative_to(REPO)}: {name}")
            for keyword in node.keywords:
                if keyword.arg == "shell" or (keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"):
                    found.append(f"{path.relative_to(REPO)}: {keyword.arg}")
    assert found == ["openlrm/datasets/workers.py: pickle.loads"]
