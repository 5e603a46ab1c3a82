"""What a user can get wrong ends in one line that says what, where and what to do, exit code 2, and no file."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from openlrm import launch

REPO = Path(__file__).resolve().parents[1]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write it all")


class Bench:
    """A scratch folder with everything a good run needs, for a case to spoil."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.out = folder / "out"
        self.picture = folder / "cup.png"
        pixels = np.full((20, 20, 4), 255, np.uint8)
        pixels[5:15, 5:15, :3] = 90
        Image.fromarray(pixels).save(self.picture)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def model(self, config: Callable | None = None, weights: Callable | None = None) -> Path:
        """A copy of the miniature model; the arguments change its config or its tensors in place."""
        folder = self.folder / "model"
        folder.mkdir()
        values = json.loads((GOLDEN / "config.json").read_text())
        if config:
            config(values)
        (folder / "config.json").write_text(json.dumps(values))
        if weights:
            tensors = load_file(GOLDEN / "model.safetensors")
            weights(tensors)
            save_file(tensors, folder / "model.safetensors")
        else:
            shutil.copy(GOLDEN / "model.safetensors", folder)
        return folder

    def triplane(self, raw: float = 4.0, change: Callable | None = None, metadata: dict | None = None) -> Path:
        """A triplane file of the constant raw density `raw`; `change` spoils its tensors."""
        sizes = [(64, 12), (64, 64), (64, 64), (4, 64)]
        tensors = {"planes": np.zeros((3, 4, 8, 8), np.float32)}
        for layer, shape in zip((0, 2, 4, 6), sizes, strict=True):
            tensors[f"decoder.net.{layer}.weight"] = np.zeros(shape, np.float32)
            tensors[f"decoder.net.{layer}.bias"] = np.zeros(shape[:1], np.float32)
        tensors["decoder.net.6.bias"][0] = raw
        if change:
            change(tensors)
        path = self.folder / "cup.safetensors"
        save_file(tensors, path, metadata or {"format": "openlrm-triplane", "rendering_samples_per_ray": "8"})
        return path

    def run_folder(self, *epochs: int) -> Path:
        from openlrm.checkpoint import write_ckpt

        folder = self.folder / "run"
        (folder / "ckpt").mkdir(parents=True)
        shutil.copy(GOLDEN / "config.json", folder)
        for epoch in epochs:
            write_ckpt(folder / "ckpt" / f"openlrm-e{epoch}.ckpt", {"pos_embed": np.zeros(2, np.float32)})
        return folder

    def arguments(self, *changes: str) -> list[str]:
        """The good command with keys replaced or added; `key` alone takes it out, `--...` and the rest is appended."""
        values = {
            "model_name": GOLDEN,
            "image_input": self.picture,
            "source_size": 56,
            "render_size": 16,
            "render_views": 2,
            "mesh_size": 16,
            "export_video": "true",
            "export_mesh": "true",
            "video_dump": self.out,
            "mesh_dump": self.out,
            "planes_dump": self.out,
            "device_target": "CPU",
            "logger": "error",
        }
        rest = []
        for change in changes:
            key, equals, value = change.partition("=")
            if key in values and not equals:
                del values[key]
            elif key in values or (equals and not key.startswith("-")):
                values[key] = value
            else:
                rest.append(change)
        return ["infer.lrm", *(f"{key}={value}" for key, value in values.items()), *rest]

    def of_triplane(self, path: Path, *changes: str) -> list[str]:
        """The good command for a triplane file, mesh only."""
        return self.arguments("model_name", "image_input", "export_video", f"planes_input={path}", *changes)

    def files(self) -> dict[str, tuple]:
        """Every file in the scratch folder with what changes when it is written (some may not be read)."""
        found = {str(path): path.stat() for path in self.folder.rglob("*") if path.is_file()}
        return {name: (about.st_ino, about.st_size, about.st_mtime_ns) for name, about in found.items()}


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


class Case(NamedTuple):
    """A mistake: how to make it, and the words its message must have."""

    name: str
    make: Callable[[Bench], list[str]]
    words: list[str]
    marks: tuple = ()


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def picture(name: str, content: Callable[[Bench], bytes]) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(f"image_input={b.write(name, content(b))}")


def transparent(b: Bench) -> list[str]:
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(b.folder / "glass.png")
    return b.arguments(f"image_input={b.folder / 'glass.png'}")


def folder_called(name: str) -> Callable[[Bench], list[str]]:
    def make(b: Bench) -> list[str]:
        (b.folder / name).mkdir()
        return b.arguments(f"image_input={b.folder / name}")

    return make


def unreadable(b: Bench) -> list[str]:
    b.picture.chmod(0)
    return b.arguments()


IMAGES = [
    Case("missing", lambda b: b.arguments("image_input=no.png"), ["no such picture", "no.png", "check the path"]),
    Case("empty folder", folder_called("empty"), ["no picture in the folder", "empty", ".png"]),
    Case("folder called x.png", folder_called("x.png"), ["no picture in the folder", "x.png"]),
    Case("no picture", picture("note.png", lambda b: b"just text"), ["not a png", "note.png", "convert"]),
    Case("zero bytes", picture("zero.png", lambda b: b""), ["not a png", "zero.png"]),
    Case("truncated", picture("cut.png", lambda b: b.picture.read_bytes()[:-40]), ["damaged", "cut.png", "export"]),
    Case("30000 x 30000", picture("huge.png", lambda b: png(30000, 30000)), ["100 million", "huge.png", "shrink"]),
    Case("no pixels in it", picture("hollow.png", lambda b: png(8, 8)), ["damaged", "hollow.png"]),
    Case("fully transparent", transparent, ["fully transparent", "glass.png", "choose"]),
    Case("another kind", picture("a.heic", lambda b: b"ftypheic"), ["not a picture we read", "a.heic", ".webp"]),
    Case("no permission", unreadable, ["Permission denied", "cup.png"], (as_root,)),
    Case("empty name", lambda b: b.arguments("image_input="), ["image_input is missing", "image_input=..."]),
]


def yaml(content: str | bytes, *also: str) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(*also, "--config", str(b.write("run.yaml", content)))


def options(*changes: str) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(*changes)


CONFIGS = [
    Case("no such YAML", options("--infer", "no.yaml"), ["no such config file", "no.yaml", "check the path"]),
    Case("broken YAML", yaml("mesh_size: [1,\nrender_size: 3"), ["cannot read the config file", "run.yaml", "line 1"]),
    Case("not UTF-8", yaml(b"\xff\xfe\x00m"), ["cannot read the config file", "run.yaml"]),
    Case("a list", yaml("- mesh_size"), ["key: value", "run.yaml"]),
    Case("a python tag", yaml("mesh_size: !!python/name:os.system"), ["cannot read the config file", "python/name"]),
    Case("key twice in YAML", yaml("mode: 1\nmode: 0"), ["duplicate key", "mode", "run.yaml"]),
    Case("unknown key in YAML", yaml("mesh_sise: 3"), ["unknown option mesh_sise", "run.yaml", "mean mesh_size?"]),
    Case("wrong type in YAML", yaml("mesh_thres: much", "mesh_size"), ["mesh_thres=much", "float", "run.yaml"]),
    Case("number as name", yaml("model_ckpt: 7"), ["model_ckpt", "not text", "quotes"]),
    Case("unknown key", options("render_veiws=3"), ["unknown option render_veiws", "command line", "render_views?"]),
    Case("not a number", options("mesh_size=big"), ["mesh_size=big", "int", "command line"]),
    Case("not a whole number", options("render_views=2.5"), ["render_views=2.5", "int", "command line"]),
    Case("not a yes or no", options("export_mesh=maybe"), ["export_mesh=maybe", "bool"]),
    Case("grid too small", options("mesh_size=1"), ["mesh_size=1", "from 8 to 1024"]),
    Case("no frames", options("render_views=0"), ["render_views=0", ">= 1"]),
    Case("negative speed", options("render_fps=-5"), ["render_fps=-5", "from 1 to 240"]),
    Case("NaN", options("source_cam_dist=.nan"), ["source_cam_dist=nan", "from 0.1 to 100"]),
    Case("endless threshold", options("mesh_thres=.inf", "export_video"), ["mesh_thres", "inf"]),
    Case("kind of video", options("video_format=avi"), ["video_format=avi", "mp4 | mov | gif | webm | png"]),
    Case("kind of mesh", options("mesh_format=fbx"), ["mesh_format=fbx", "ply | obj | glb | stl"]),
    Case("mode", options("mode=2"), ["mode=2", "0 | 1"]),
    Case("device", options("device_target=TPU"), ["device_target=TPU", "Ascend | CPU"]),
    Case("log level", options("logger=loud"), ["logger=loud", "debug | info"]),
    Case("two values", options("mode=1", "--mode=0"), ["mode is given twice, as 1 and 0", "command line"]),
    Case("stray word", options("cup.png"), ["unexpected argument 'cup.png'", "key=value"]),
    Case("stray YAML", options("configs/infer-s.yaml"), ["unexpected argument", "--config configs/infer-s.yaml?"]),
    Case("unknown flag", options("--mesh-sise", "32"), ["unknown flag --mesh-sise", "--mesh_size?"]),
    Case("flag without value", options("--epoch"), ["--epoch needs a value", "command line"]),
]


def changed_config(**values) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(f"model_name={b.model(config=lambda c: c.update(values))}")


def changed_encoder(**values) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(f"model_name={b.model(config=lambda c: c['encoder'].update(values))}")


def changed_weights(change: Callable[[dict], object]) -> Callable[[Bench], list[str]]:
    return lambda b: b.arguments(f"model_name={b.model(weights=change)}")


def model_without(name: str) -> Callable[[Bench], list[str]]:
    def make(b: Bench) -> list[str]:
        folder = b.model()
        (folder / name).unlink()
        return b.arguments(f"model_name={folder}")

    return make


def cut(name: str, keep: int) -> Callable[[Bench], list[str]]:
    """A model whose weights, under this name, end too early."""

    def make(b: Bench) -> list[str]:
        from openlrm.checkpoint import write_ckpt

        path = b.model() / name
        if path.suffix == ".ckpt":
            write_ckpt(path, load_file(GOLDEN / "model.safetensors"))
        path.write_bytes(path.read_bytes()[:keep])
        return b.arguments(f"model_name={path.parent if path.name == 'model.safetensors' else path}")

    return make


def text_as(name: str) -> Callable[[Bench], list[str]]:
    """A model of another kind of file."""

    def make(b: Bench) -> list[str]:
        (b.model() / name).write_text("text")
        return b.arguments(f"model_name={b.folder / 'model' / name}")

    return make


def config_text(text: str) -> Callable[[Bench], list[str]]:
    def make(b: Bench) -> list[str]:
        folder = b.model()
        (folder / "config.json").write_text(text)
        return b.arguments(f"model_name={folder}")

    return make


MODELS = [
    Case("missing", options("model_name=no/such/model/here"), ["model not found", "no/such/model", "config.json"]),
    Case("not given", options("model_name"), ["model_name is missing", "model_name=..."]),
    Case("empty folder", lambda b: folder_called("void")(b) and b.arguments("model_name=void"), ["model.safetensors"]),
    Case("no config", model_without("config.json"), ["config.json not found", "model", "put"]),
    Case("no weights", model_without("model.safetensors"), ["no model.safetensors", "is it a model folder?"]),
    Case("config cut short", config_text('{"camera_embed_dim": 48,'), ["unreadable model config", "config.json"]),
    Case("config a list", config_text("[1]"), ["not a JSON object", "config.json"]),
    Case("config key unknown", changed_config(depth=3), ["unknown keys", "depth", "model/config.json"]),
    Case("config key missing", lambda b: b.arguments(
        f"model_name={b.model(config=lambda c: c.pop('triplane_dim'))}"), ["lacks: triplane_dim", "model/config.json"]),
    Case("config text for number", changed_config(transformer_dim="64"), ["transformer_dim='64'", "whole number"]),
    Case("config null for number", changed_config(transformer_layers=None), ["transformer_layers=None"]),
    Case("config switch as text", changed_config(encoder_freeze="no"), ["encoder_freeze='no'", "true or false"]),
    Case("config rule", changed_config(transformer_heads=5), ["transformer_heads=5", "divide", "model/config.json"]),
    Case("config encoder", changed_config(encoder_type="clip"), ["encoder_type 'clip'", "model/config.json", "dinov2"]),
    Case("config encoder name", changed_config(encoder=None), ["encoder_model_name 'mini'", "dinov2_vits14_reg"]),
    Case("config encoder a number", changed_config(encoder=5), ["encoder=5", "model/config.json"]),
    Case("config encoder key", changed_encoder(width=3), ["unknown key encoder.width", "embed_dim"]),
    Case("config encoder value", changed_encoder(depth="2"), ["encoder.depth='2'", "whole number"]),
    Case("config encoder heads", changed_encoder(num_heads=5), ["num_heads=5", "does not divide", "embed_dim=32"]),
    Case("weights cut short", cut("model.safetensors", 5000), ["damaged safetensors", "model.safetensors", "again"]),
    Case("ckpt cut short", cut("x.ckpt", 5000), ["damaged MindSpore checkpoint", "x.ckpt", "earlier"]),
    Case("ckpt empty", cut("x.ckpt", 0), ["damaged MindSpore checkpoint", "x.ckpt"]),
    Case("ckpt of text", text_as("x.ckpt"), ["damaged MindSpore checkpoint", "x.ckpt"]),
    Case("pickle", text_as("x.pth"), ["pickle", "x.pth", "save_file"]),
    Case("no checkpoint", text_as("x.txt"), ["not a checkpoint", "x.txt", ".safetensors"]),
    Case("NaN", changed_weights(lambda w: w["upsampler.bias"].fill(np.nan)), ["upsampler.bias", "NaN", "earlier"]),
    Case("entry missing", changed_weights(lambda w: w.pop("pos_embed")), ["1 missing: pos_embed", "belong together"]),
    Case("entry left over", changed_weights(lambda w: w.update(x=np.zeros(2))), ["1 left over: x", "belong together"]),
    Case("entry misshapen", changed_weights(lambda w: w.update(pos_embed=np.zeros((1, 3), np.float32))),
         ["pos_embed is (1, 3), expected (1, 192, 64)"]),
    Case("weights that overflow", changed_weights(lambda w: w["upsampler.weight"].fill(3e38)),
         ["the triplane holds NaN or infinity", "weights"]),
    Case("epoch not there", lambda b: b.arguments(f"model_name={b.run_folder(2, 10)}", "epoch=3"),
         ["no checkpoint of epoch 3", "run", "openlrm-e10.ckpt"]),
    Case("epoch disagrees", lambda b: b.arguments(
        f"model_name={b.run_folder(2)}", "model_ckpt=openlrm-e2.ckpt", "epoch=3"), ["epoch=3", "of epoch 2"]),
    Case("ckpt not there", lambda b: b.arguments(f"model_name={b.run_folder(2)}", "model_ckpt=a.ckpt"),
         ["model_ckpt=a.ckpt not found", "openlrm-e2.ckpt"]),
    Case("negative epoch", options("epoch=-1"), ["epoch=-1", ">= 0"]),
    Case("size between patches", options("source_size=57"), ["source_size=57", "patch side 14"]),
]  # fmt: skip


def occupied(name: str) -> Callable[[Bench], list[str]]:
    """A folder stands where a result should go."""

    def make(b: Bench) -> list[str]:
        (b.out / name).mkdir(parents=True)
        return b.arguments(*(["export_video"] if name.endswith("ply") else ["export_mesh"]))

    return make


def foreign_frames(b: Bench) -> list[str]:
    b.write("out/cup/holiday.jpg", "mine")
    return b.arguments("video_format=png", "export_mesh")


def locked(b: Bench) -> list[str]:
    b.out.mkdir(mode=0o500)
    return b.arguments()


OUTPUTS = [
    Case("a file as folder", lambda b: b.arguments(f"video_dump={b.write('taken', 'x')}"), ["cannot write", "taken"]),
    Case("below a file", lambda b: b.arguments(f"video_dump={b.write('taken', 'x')}/deep"), ["cannot write", "taken"]),
    Case("folder instead of video", occupied("cup.mp4"), ["a folder", "cup.mp4"]),
    Case("folder instead of mesh", occupied("cup.ply"), ["a folder", "cup.ply"]),
    Case("frames among others", foreign_frames, ["other files (holiday.jpg)", "cup", "choose another output"]),
    Case("too long a name", lambda b: b.arguments(f"video_dump={'n' * 300}"), ["cannot write", "nnn", "choose"]),
    Case("locked folder", locked, ["cannot write to the folder", "out", "permissions"], (as_root,)),
]


def triplane(*changes: str, **how) -> Callable[[Bench], list[str]]:
    return lambda b: b.of_triplane(b.triplane(**how), *changes)


def overflow(tensors: dict) -> None:
    """Finite numbers that give a field of infinity times zero."""
    tensors["decoder.net.2.bias"][:] = tensors["decoder.net.4.weight"][:] = 3e38


JOBS = [
    Case("nothing to write", options("export_video", "export_mesh"), ["nothing to write", "export_video=true"]),
    Case("two sources", lambda b: b.arguments(f"planes_input={b.triplane()}"), ["planes_input replaces model_name"]),
    Case("no source", options("model_name", "image_input"), ["model_name is missing", "--help"]),
    Case("no picture", options("image_input"), ["image_input is missing", "--help"]),
    Case("no such triplane", lambda b: b.of_triplane("no.safetensors"), ["not found", "no.safetensors"]),
    Case("model as triplane", lambda b: b.of_triplane(GOLDEN / "model.safetensors"),
         ["not a triplane file", "model.safetensors", "export_planes=true"]),
    Case("picture as triplane", lambda b: b.of_triplane(b.picture), ["not a", "cup.png"]),
    Case("triplane without samples", triplane(metadata={"format": "pt"}), ["rendering_samples_per_ray"]),
    Case("triplane of another decoder", triplane(change=lambda t: t.update(planes=np.zeros((3, 5, 8, 8), np.float32))),
         ["does not fit", "decoder.net.0.weight is (64, 12), expected (64, 15)"]),
    Case("oblong triplane", triplane(change=lambda t: t.update(planes=np.zeros((3, 4, 8, 9), np.float32))),
         ["not a triplane file", "cup.safetensors"]),
    Case("NaN in the triplane", triplane(change=lambda t: t["planes"].fill(np.nan)), ["planes", "NaN"]),
    Case("triplane that overflows", triplane("export_video=true", "export_mesh", change=overflow), ["colour is NaN"]),
    Case("no Ascend", options("device_target=Ascend"), ["no Ascend NPU was found", "device_target=CPU"]),
    Case("thin field", triplane(raw=-2.0), ["no surface at threshold 3", "density lies in [0.0486", "mesh_thres="]),
    Case("empty field", triplane(raw=-60.0), ["no surface at threshold 3", "the field is empty", "weights"]),
]  # fmt: skip

CASES = [
    pytest.param(case, id=f"{group}: {case.name}", marks=case.marks)
    for group, cases in {
        "image": IMAGES,
        "config": CONFIGS,
        "model": MODELS,
        "output": OUTPUTS,
        "job": JOBS,
    }.items()
    for case in cases
]


def error_line(stderr: str) -> str:
    """The one line on stderr that is no progress bar."""
    lines = [line for line in stderr.split("\n") if line and "\r" not in line]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_two_and_nothing_written(case, bench, capfd):
    argv = case.make(bench)
    before = bench.files()
    capfd.readouterr()
    code = launch.main(argv)
    out, err = capfd.readouterr()
    assert code == 2
    line = error_line(err)
    assert [word for word in case.words if word not in line] == [], line
    assert out == ""
    assert bench.files() == before
    assert list(bench.folder.rglob(".tmp-*")) == []


def test_the_command_that_the_cases_spoil_is_good(bench):
    assert launch.main(bench.arguments()) == 0
    assert sorted(path.name for path in bench.out.iterdir()) == ["cup.mp4", "cup.ply"]


def test_a_thin_field_has_a_surface_where_the_message_says(bench, capfd):
    path = bench.triplane(raw=-2.0)
    assert launch.main(bench.of_triplane(path)) == 2
    hint = re.search(r"mesh_thres=\S+", error_line(capfd.readouterr().err)).group()
    assert launch.main(bench.of_triplane(path, hint)) == 0
    assert (bench.out / "cup.ply").is_file()


def typed(argv: list[str], bench: Bench, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command in a process of its own; `\\r` as it was printed."""
    result = subprocess.run(
        [sys.executable, "-m", "openlrm.launch", *argv],
        cwd=bench.folder,
        env=os.environ | {"PYTHONPATH": str(REPO)} | environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return result.returncode, result.stdout.decode(), result.stderr.decode()


IN_A_PROCESS = {"image: missing", "config: two values", "model: ckpt cut short", "model: weights cut short"}
IN_A_PROCESS |= {"job: no Ascend", "job: thin field"}


@pytest.mark.parametrize("case", [p for p in CASES if p.id in IN_A_PROCESS])
def test_as_typed(case, bench):
    """The same through the shell: nothing below Python writes to the console either."""
    code, out, err = typed(case.make(bench), bench)
    assert code == 2
    line = error_line(err)
    assert all(word in line for word in case.words)
    assert out == ""


def test_hub_that_cannot_be_reached(bench):
    """A port where nothing listens stands for a machine without network."""
    argv = bench.arguments("model_name=zxhezexin/openlrm-obj-small-1.1")
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(bench.folder / "hub"), "HF_HUB_OFFLINE": "0"}
    code, _, err = typed(argv, bench, NO_PROXY="*", no_proxy="*", **nowhere)
    assert code == 2
    line = error_line(err)
    assert "hub is not reachable" in line and "zxhezexin/openlrm-obj-small-1.1" in line and "hf download" in line


def test_a_failing_encoder_leaves_the_earlier_video(bench, capfd, monkeypatch):
    """A run that fails half-way keeps what an earlier one finished."""
    assert launch.main(bench.arguments("export_mesh")) == 0
    before = bench.files()
    monkeypatch.setattr("openlrm.utils.video._ENCODERS", {".mp4": ["-c:v", "no-such-codec"]})
    capfd.readouterr()
    assert launch.main(bench.arguments("export_mesh", "render_views=5")) == 2
    assert "ffmpeg" in error_line(capfd.readouterr().err)
    assert bench.files() == before
