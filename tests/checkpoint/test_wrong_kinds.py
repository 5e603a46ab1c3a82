"""Files that are not the checkpoints their names say, checkpoints in several parts, and half a download."""

import io
import json
import pickle
import shutil
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from openlrm import ModelLRM
from openlrm.checkpoint import locate_model, read_tensors, write_ckpt, write_safetensors
from openlrm.checkpoint.strict import parameter_arrays
from openlrm.errors import UserError
from openlrm.families.lrm.pretrained import load_encoder

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def zipped(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps({"state_dict": {}}))
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"))
    return stream.getvalue()


def npy(save, *arrays):
    stream = io.BytesIO()
    save(stream, *arrays)
    return stream.getvalue()


KINDS = {
    "lfs": (LFS.format("ab" * 32, 123).encode(), "a Git LFS pointer to a file of 123 bytes, not .*git lfs pull"),
    "old lfs": (LFS.replace("git-lfs", "hawser").format("0" * 64, 7).encode(), "a Git LFS pointer to a file of 7"),
    "lfs of Windows": (LFS.replace("\n", "\r\n").format("0" * 64, 9).encode(), "a Git LFS pointer to a file of 9"),
    "page": (b"\n<!DOCTYPE html>\n<html>" + b"x" * 900, "a web page, not .*download"),
    "page with a mark": (b"\xef\xbb\xbf<HTML>", "a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
    "answer": (b"Entry not found", "a text that begins 'Entry not found'"),
    "json": (b'{"error": "Repository not found"}', "a text that begins"),
    "other letters": ("Доступ запрещён\n".encode() * 40, "a text that begins 'Доступ"),
    "torch": (zipped("archive/data.pkl", "archive/version"), "a PyTorch file.*weights_only"),
    "torch of any name": (zipped("last/data.pkl", "last/data/0"), "a PyTorch file.*state_dict"),
    "cut zip": (zipped("archive/data.pkl")[:60], "a damaged zip archive"),
    "npz": (npy(np.savez, np.zeros(2)), "a NumPy archive"),
    "npy": (npy(np.save, np.zeros(2)), "a NumPy array"),
    "zip": (zipped("model.safetensors"), "a zip archive.*unpack"),
    "tar": (tarred(), "a tar archive"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(40), "a gzip archive"),
    "pickle 2": (pickle.dumps({"a": [1.0] * 50}, 2), "a pickle.*weights_only"),
    "pickle 4": (pickle.dumps({"a": [1.0] * 50}, 4), "a pickle"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(100), "a GGUF file"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt", "pytorch_model.bin", "x.pth", "weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_kind_is_named_whatever_its_name(tmp_path, kind, name):
    content, words = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as told:
        read_tensors(tmp_path / name)
    assert "cut short" not in str(told.value) and "encrypted" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt", "a.bin", "a"])
def test_safetensors_are_known_by_their_content(tmp_path, name):
    save_file({"x": np.arange(3, dtype=np.float32)}, tmp_path / name)
    assert read_tensors(tmp_path / name)["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("length", [10, 60, 123, 0x0A + 256 * 5, 0x280, 0x3C3C, 0x227B])
def test_the_length_of_the_header_is_not_taken_for_a_kind(tmp_path, length):
    """Its bytes come first, and may be those that a page or a pickle begins with."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    padded = header.ljust(max(length, len(header))).encode()
    (tmp_path / "a.safetensors").write_bytes(len(padded).to_bytes(8, "little") + padded + bytes(4))
    assert read_tensors(tmp_path / "a.safetensors")["x"].tolist() == [0]


@pytest.fixture
def release(golden_dir, tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    shutil.copy(golden_dir / "config.json", folder)
    return folder


def split(golden_dir, folder, count=3):
    """The miniature model in several files and their index, as huggingface_hub writes them."""
    weights = load_file(golden_dir / "model.safetensors")
    names, places = sorted(weights), {}
    for number in range(count):
        part = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        chosen = names[number::count]
        save_file({name: weights[name] for name in chosen}, folder / part)
        places |= dict.fromkeys(chosen, part)
    write_index(folder, places)
    return places


def write_index(folder, places):
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_parts_are_read(pynative, golden_dir, release):
    split(golden_dir, release)
    expected = load_file(golden_dir / "model.safetensors")
    for given in (release, release / "model.safetensors.index.json"):
        arrays = parameter_arrays(ModelLRM.from_pretrained(str(given)))
        assert set(arrays) == set(expected)
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_parts_that_do_not_fit_their_index_are_told(golden_dir, release):
    places = split(golden_dir, release)
    index, first, name = release / "model.safetensors.index.json", "model-00001-of-00003.safetensors", min(places)

    def told(words):
        with pytest.raises(UserError, match=words):
            read_tensors(locate_model(str(release)).weights)

    write_index(release, places | {"more": first})
    told(f"has no more, which its index names: .*{first}")
    for bad in ("../model.safetensors", "/etc/passwd", "a\\b.safetensors", "model.bin", ""):
        write_index(release, places | {name: bad})
        told("not a .safetensors file beside it")
    for content in ("[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": [1]}', "{"):
        index.write_text(content)
        told("cannot use the index|a text that begins")
    index.write_text(LFS.format("0" * 64, 5))
    told("a Git LFS pointer")
    write_index(release, places)
    (release / first).write_text(LFS.format("0" * 64, 5))
    told(f"a Git LFS pointer to a file of 5 bytes, not a part of the checkpoint: .*{first}")
    (release / first).unlink()
    told(f"1 of 3 parts of the checkpoint are missing: {first}")
    index.unlink()
    told("is a part of the weights, and model.safetensors.index.json is missing")
    with pytest.raises(UserError, match="one part of the weights.*give the folder"):
        locate_model(str(release / "model-00002-of-00003.safetensors"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "last.ckpt", "model.pth"])
def test_what_is_there_instead_of_the_weights_is_named(release, name):
    (release / name).write_bytes(KINDS["torch"][0])
    with pytest.raises(UserError, match=f"a PyTorch file.*{name}"):
        read_tensors(locate_model(str(release)).weights)


@pytest.mark.parametrize("kind", ["lfs", "page"])
def test_a_config_of_another_kind_is_named(golden_dir, release, kind):
    shutil.copy(golden_dir / "model.safetensors", release)
    (release / "config.json").write_bytes(KINDS[kind][0])
    with pytest.raises(UserError, match=KINDS[kind][1].split(",")[0] + ", not the model's config"):
        locate_model(str(release))


@pytest.mark.parametrize("place", ["{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "model.{}"])
def test_prefixes_of_compiled_and_wrapped_models(pynative, golden_dir, release, place):
    weights = load_file(golden_dir / "model.safetensors")
    save_file({place.format(name): value for name, value in weights.items()}, release / "model.safetensors")
    arrays = parameter_arrays(ModelLRM.from_pretrained(str(release)))
    assert all(np.array_equal(arrays[name], weights[name]) for name in weights)


def test_a_part_that_was_compiled(pynative, golden_dir, release, mini, tmp_path):
    weights = load_file(golden_dir / "model.safetensors")
    compiled = {
        name.replace("transformer.layers.1.", "transformer.layers.1._orig_mod."): v for name, v in weights.items()
    }
    assert set(compiled) != set(weights)
    save_file(compiled, release / "model.safetensors")
    assert np.array_equal(parameter_arrays(ModelLRM.from_pretrained(str(release)))["pos_embed"], weights["pos_embed"])
    encoder = {
        n.replace("encoder.model.", "_orig_mod."): v for n, v in weights.items() if n.startswith("encoder.model.")
    }
    save_file(encoder, tmp_path / "encoder.safetensors")
    load_encoder(mini, tmp_path / "encoder.safetensors")


def test_two_models_in_one_file_are_told(pynative, golden_dir, release):
    weights = load_file(golden_dir / "model.safetensors")
    save_file(weights | {"_orig_mod.pos_embed": weights["pos_embed"] + 1}, release / "model.safetensors")
    with pytest.raises(UserError, match="pos_embed is there twice"):
        ModelLRM.from_pretrained(str(release))


def test_crc_behind_a_ckpt_is_checked(tmp_path):
    path = tmp_path / "a.ckpt"
    write_ckpt(path, {"x": np.arange(100, dtype=np.float32)})
    content = path.read_bytes()
    crc = b"crc_num" + zlib.crc32(content).to_bytes(10, "big")
    path.write_bytes(content + crc)
    assert read_tensors(path)["x"][99] == 99
    changed = bytearray(content)
    changed[-2] ^= 1  # one bit of a number, which remains one
    path.write_bytes(bytes(changed) + crc)
    with pytest.raises(UserError, match="damaged MindSpore checkpoint .*CRC"):
        read_tensors(path)


@pytest.mark.parametrize("half", [False, True])
def test_a_file_is_held_once(tmp_path, half):
    dtype = np.float16 if half else np.float32
    tensors = {f"layer{number}": np.ones((256, 1024), dtype) for number in range(16)}
    write_safetensors(tmp_path / "a.safetensors", tensors)
    del tensors
    tracemalloc.start()
    read = read_tensors(tmp_path / "a.safetensors")
    size, peak = sum(array.nbytes for array in read.values()), tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 16 * 2**20
    assert peak < 1.25 * size


@pytest.fixture
def half_a_cache(tmp_path, golden_dir):
    """What an interrupted download leaves: the small file and a link to the large one, which is not there."""
    cache = tmp_path / "hub"
    model = cache / "models--someone--mini"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0123")
    snapshot = model / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    shutil.copy(golden_dir / "config.json", snapshot)
    return snapshot


def test_half_a_cache_is_called_that(half_a_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, allow_patterns: str(half_a_cache))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_: (_ for _ in ()).throw(OSError("no route")))
    for prepare in (lambda: None, lambda: (half_a_cache / "model.safetensors").symlink_to("../../blobs/gone")):
        prepare()
        words = r"cache holds half of the model, without model\.safetensors, and the hub is not reachable.*hf download"
        with pytest.raises(UserError, match=words):
            locate_model("someone/mini")


def test_a_hub_model_with_a_pickle_alone_is_called_that(half_a_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, allow_patterns: str(half_a_cache))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_: ["config.json", "pytorch_model.bin"])
    with pytest.raises(UserError, match=r"no model\.safetensors, only pytorch_model\.bin: someone/mini\. convert it"):
        locate_model("someone/mini")


def test_parts_come_from_the_hub(half_a_cache, golden_dir, monkeypatch):
    split(golden_dir, half_a_cache)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, allow_patterns: str(half_a_cache))
    assert set(read_tensors(locate_model("someone/mini").weights)) == set(load_file(golden_dir / "model.safetensors"))
    (half_a_cache / "model-00002-of-00003.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(UserError, match=r"half of the model, without model-00002-of-00003\.safetensors"):
        locate_model("someone/mini")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HF_ENDPOINT", "hf-mirror.com", "HF_ENDPOINT=hf-mirror.com is no address of a hub"),
        ("HF_ENDPOINT", "", "HF_ENDPOINT= is no address of a hub"),
        ("HF_ENDPOINT", "ftp://mirror", "is no address of a hub"),
    ],
)
def test_an_endpoint_without_scheme_is_told(monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=words):
        locate_model("someone/mini")


class ProtocolError(Exception):
    """No relation of OSError, as those of the hub's HTTP client."""


@pytest.mark.parametrize(
    "error", [ImportError("socksio is not installed"), ProtocolError("no scheme"), ProtocolError()]
)
def test_whatever_the_hubs_client_raises_is_one_line(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UserError, match=rf"hub is not reachable \({str(error) or 'ProtocolError'}\): someone/mini"):
        locate_model("someone/mini")


@pytest.mark.parametrize(("given", "words"), [("", "a Git LFS pointer to"), ("last.ckpt", "a PyTorch file")])
def test_reported_files(shared_dir, given, words):
    folder = shared_dir / "reports" / "checkpoint-wrong-kind"
    if not folder.is_dir():
        pytest.skip("no reports in ../shared")
    with pytest.raises(UserError, match=words):
        read_tensors(locate_model(str(folder / given)).weights)
