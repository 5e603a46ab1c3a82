"""`infer.lrm` from the command line to the files, with the miniature model."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import trimesh
from PIL import Image
from safetensors.numpy import load_file, save_file

from openlrm import launch
from openlrm.runners.infer.config import InferConfig

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
MUG = REPO / "assets" / "sample_input" / "mug_full.png"
VIEWS, SIZE = 3, 24
SMALL = [f"render_size={SIZE}", f"render_views={VIEWS}", "mesh_size=32", "mesh_thres=3", "device_target=CPU"]


@pytest.fixture
def infer(tmp_path, monkeypatch):
    """Run the command in a scratch folder and expect success; later options win over the usual ones."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str, code: int = 0, usual: tuple = (f"model_name={GOLDEN}", f"image_input={MUG}")) -> Path:
        given = {option.partition("=")[0] for option in options}
        before = [option for option in (*usual, *SMALL, "source_size=56") if option.partition("=")[0] not in given]
        assert launch.main(["infer.lrm", *before, *options]) == code
        return tmp_path / "dumps"

    return run


def frames(folder: Path) -> np.ndarray:
    """(M, H, W, 3) of a video of kind png."""
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]).astype(int)


# Half the side of the box below. Planes fall from 1 to 0 within a texel (0.125) around 0.5; the raw density
# 80 (sum - 2) - 40 of a face, where two planes fall together, passes zero three quarters up.
HALF, SOFT = 0.5 - 0.125 / 4, 0.03


def box_triplane(path: Path) -> Path:
    """A red box, written by hand: a point is inside where all three planes say one."""
    planes = np.zeros((3, 1, 16, 16), np.float32)
    planes[:, :, 4:12, 4:12] = 1
    tensors = {"planes": planes}
    for layer, shape in zip((0, 2, 4, 6), [(64, 3), (64, 64), (64, 64), (4, 64)], strict=True):
        tensors[f"decoder.net.{layer}.weight"] = np.zeros(shape, np.float32)
        tensors[f"decoder.net.{layer}.bias"] = np.zeros(shape[:1], np.float32)
    tensors["decoder.net.0.weight"][0], tensors["decoder.net.0.bias"][0] = 1, -2
    tensors["decoder.net.2.weight"][0, 0] = tensors["decoder.net.4.weight"][0, 0] = 1
    tensors["decoder.net.6.weight"][0, 0] = 80
    tensors["decoder.net.6.bias"][:] = [-40, 8, -8, -8]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"format": "openlrm-triplane", "rendering_samples_per_ray": "96"})
    return path


@pytest.fixture(scope="module")
def typed(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A whole run as a user types it, from the repository's folder, with the device left to choose."""
    out = tmp_path_factory.mktemp("typed")
    command = [sys.executable, "-m", "openlrm.launch", "infer.lrm", "--infer", "configs/infer-s.yaml"]
    command += [
        "model_name=openlrm/families/lrm/golden",
        "image_input=assets/sample_input/mug_full.png",
        "source_size=56",
        *SMALL[:-1],
    ]
    command += ["--export_video", "--export-mesh", "true", "export_planes=true", "video_format=mp4", "mesh_format=ply"]
    command += [f"{kind}_dump={out}" for kind in ("video", "mesh", "planes")]
    return out, subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_as_typed(typed):
    out, result = typed
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert sorted(path.name for path in out.iterdir()) == ["mug_full.mp4", "mug_full.ply", "mug_full.safetensors"]
    for name in ("mug_full.mp4", "mug_full.ply", "mug_full.safetensors"):
        assert re.search(rf"^wrote .*{name}", result.stderr, re.MULTILINE)
    assert re.search(r"^device (CPU|Ascend) \(chosen: .*mode 1 \(PyNative\)", result.stderr, re.MULTILINE)
    told = r"^model golden, weights openlrm/families/lrm/golden/model.safetensors, products in (fp32|bf16)$"
    assert re.search(told, result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr and "[WARNING]" not in result.stderr


def test_two_runs_write_the_same_bytes(typed, tmp_path):
    """Each in a new process: in one that has worked before, buffers lie elsewhere and kernels round otherwise."""
    command = [
        sys.executable,
        "-m",
        "openlrm.launch",
        "infer.lrm",
        "model_name=openlrm/families/lrm/golden",
        f"image_input={MUG}",
    ]
    command += [*SMALL[:-1], "source_size=56", "export_mesh=true", "export_planes=true"]
    command += [f"{kind}_dump={tmp_path}" for kind in ("mesh", "planes")]
    subprocess.run(command, cwd=REPO, capture_output=True, check=True)
    for written in ("mug_full.ply", "mug_full.safetensors"):
        assert (tmp_path / written).read_bytes() == (typed[0] / written).read_bytes()


def test_what_is_written_may_be_read_as_other_files_are(typed, tmp_path):
    (tmp_path / "plain").touch()
    for path in typed[0].iterdir():
        assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode, path.name


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm"])
def test_video(kind, infer, tmp_path):
    source = box_triplane(tmp_path / "shapes" / "box.safetensors")
    options = [f"planes_input={source}", "export_video=true", "render_fps=12"]
    video = infer(*options, f"video_format={kind}", usual=()) / "shapes" / "videos" / f"box.{kind}"
    about = iio.immeta(video, plugin="FFMPEG")
    assert about["fps"] == 12 and tuple(about["size"]) == (SIZE, SIZE)
    shown = iio.imread(video, plugin="FFMPEG").astype(int)
    assert shown.shape == (VIEWS, SIZE, SIZE, 3)
    infer(*options, "video_format=png", usual=())
    # Codecs keep colours at half the resolution, which a red edge shows.
    assert np.abs(shown - frames(video.with_suffix(""))).mean() < 5


def test_gif(infer):
    video = infer("export_video=true", "video_format=gif", "render_fps=20") / "golden" / "videos" / "mug_full.gif"
    with Image.open(video) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (VIEWS, (SIZE, SIZE), 50, 0)


@pytest.mark.parametrize("kind", ["ply", "obj", "glb", "stl"])
def test_mesh(kind, infer):
    path = infer("export_mesh=true", f"mesh_format={kind}") / "golden" / "meshes" / f"mug_full.{kind}"
    mesh = trimesh.load_mesh(path)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
    assert np.abs(mesh.bounds).max() <= 1
    if kind in ("ply", "obj"):
        assert mesh.visual.vertex_colors.std(axis=0)[:3].min() > 1


def test_box_is_seen_where_it_is(infer, tmp_path):
    """All outputs of a known object: silhouette, depth, colour, mesh."""
    source = box_triplane(tmp_path / "shapes" / "box.safetensors")
    wanted = ["export_video=true", "export_mask=true", "export_depth=true", "export_mesh=true", "video_format=png"]
    dumps = infer(f"planes_input={source}", *wanted, "render_size=33", "render_views=4", usual=()) / "shapes"
    rgb, mask, depth = (frames(dumps / "videos" / f"box{kind}") for kind in ("", "_mask", "_depth"))
    assert rgb.shape == mask.shape == depth.shape == (4, 33, 33, 3)
    edge, middle = np.s_[:, [0, 0, -1, -1], [0, -1, 0, -1]], np.s_[:, 16, 16]
    assert (rgb[edge] == 255).all() and (mask[edge] == 0).all() and (depth[edge] == 0).all()
    assert (mask[middle] == 255).all()
    assert np.abs(rgb[middle] - [255, 0, 0]).max() <= 2
    # The camera at height 0.8 of distance 2 meets the box's side at 2 - HALF / cos(elevation).
    distance = 2 - HALF / np.sqrt(1 - 0.4**2)
    near, far = 2 - 3**0.5, 2 + 3**0.5
    behind = depth[middle] / 255 * (near - far) + far - distance
    # Light goes in by 1 / density = 0.025 and by half the distance of the coarse samples, 0.02.
    assert behind.min() > 0 and behind.max() < SOFT + 0.045
    # A box looks the same from its four sides.
    assert np.abs(rgb - rgb[:1]).max() <= 2
    mesh = trimesh.load(dumps / "meshes" / "box.ply")
    assert np.abs(np.abs(mesh.bounds) - HALF).max() < SOFT
    assert np.abs(mesh.visual.vertex_colors[:, :3].astype(int) - [255, 0, 0]).max() <= 2


def test_planes_file_renders_as_the_model_did(infer):
    """What export_planes writes holds all that the renderer needs."""
    png = ["export_video=true", "export_mesh=true", "video_format=png"]
    dumps = infer("export_planes=true", *png)
    planes = dumps / "golden" / "planes" / "mug_full.safetensors"
    infer(f"planes_input={planes}", *png, usual=())
    ours, again = (dumps / name / "videos" / "mug_full" for name in ("golden", "planes"))
    assert np.array_equal(frames(ours), frames(again))
    meshes = [(dumps / name / "meshes" / "mug_full.ply").read_bytes() for name in ("golden", "planes")]
    assert meshes[0] == meshes[1]


def test_graph_mode_gives_the_same_frames(infer, tmp_path):
    wanted = ["export_video=true", "export_mask=true", "export_depth=true", "video_format=png"]
    for mode in (1, 0):
        infer(f"mode={mode}", *wanted, f"video_dump={tmp_path / str(mode)}")
    for name in ("mug_full", "mug_full_mask", "mug_full_depth"):
        assert np.abs(frames(tmp_path / "1" / name) - frames(tmp_path / "0" / name)).max() <= 1


def test_frames_do_not_depend_on_their_batch(infer, tmp_path):
    for batch in (1, 2, 5):
        infer("export_video=true", "video_format=png", f"frame_size={batch}", f"video_dump={tmp_path / str(batch)}")
    alone = frames(tmp_path / "1" / "mug_full")
    for batch in (2, 5):
        assert np.abs(frames(tmp_path / str(batch) / "mug_full") - alone).max() <= 1


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with pictures in it and below it, two of them of one name."""
    folder = tmp_path / "pictures"
    for place in ("a/cup.png", "b/deep/cup.webp", "hat.JPG", ".hidden/no.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shade = 40 * len(place)
        pixels = np.full((30, 20, 3), 255, np.uint8)
        pixels[8:22, 5:15] = shade % 256
        Image.fromarray(pixels).save(folder / place)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_folder_of_pictures(infer, pictures, capsys):
    dumps = infer(f"image_input={pictures}", "export_planes=true")
    written = {path.stem: load_file(path)["planes"] for path in (dumps / "golden" / "planes").iterdir()}
    assert set(written) == {"a_cup", "b_deep_cup", "hat"}
    assert not np.array_equal(written["a_cup"], written["b_deep_cup"])
    assert "20 x 30 is padded to a square" in capsys.readouterr().err


def test_one_bad_picture_does_not_stop_the_others(infer, pictures, capsys):
    (pictures / "b" / "broken.png").write_text("no picture")
    dumps = infer(f"image_input={pictures}", "export_planes=true", code=2)
    assert {path.stem for path in (dumps / "golden" / "planes").iterdir()} == {"a_cup", "b_deep_cup", "hat"}
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("error: ") and "broken.png" in line and "not a png" in line for line in lines)
    assert lines[-1] == f"error: 1 of 4 pictures failed: {pictures}. the lines above say why"


def test_skip_existing(infer, pictures, capsys):
    options = [f"image_input={pictures}", "export_planes=true", "export_video=true", "video_format=png"]
    dumps = infer(*options) / "golden"
    before = {path: path.stat().st_mtime_ns for path in dumps.rglob("*") if path.is_file()}
    (dumps / "planes" / "hat.safetensors").unlink()
    shutil.rmtree(dumps / "videos" / "a_cup")
    capsys.readouterr()
    infer(*options, "skip_existing=true")
    after = {path: path.stat().st_mtime_ns for path in dumps.rglob("*") if path.is_file()}
    assert set(after) == set(before)
    written = {path for path in after if after[path] != before[path]}
    assert written == {dumps / "planes" / "hat.safetensors", *(dumps / "videos" / "a_cup").iterdir()}
    assert re.search(r"cup.webp: already done", capsys.readouterr().err)


def test_without_skip_existing_results_are_replaced(infer):
    video = infer("export_video=true", "video_format=png") / "golden" / "videos" / "mug_full"
    assert len(list(video.iterdir())) == VIEWS
    infer("export_video=true", "video_format=png", "render_views=2")
    assert len(list(video.iterdir())) == 2


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A run folder with two epochs; the weights of epoch 10 are the golden ones."""
    from openlrm.checkpoint import write_ckpt

    folder = tmp_path / "my-run"
    (folder / "ckpt").mkdir(parents=True)
    shutil.copy(GOLDEN / "config.json", folder)
    weights = load_file(GOLDEN / "model.safetensors")
    write_ckpt(folder / "ckpt" / "openlrm-e10.ckpt", weights)
    weights["upsampler.bias"] = weights["upsampler.bias"] + 1
    write_ckpt(folder / "ckpt" / "openlrm-e2.ckpt", weights)
    return folder


@pytest.mark.parametrize(
    ("options", "epoch"),
    [
        ([], 10),
        (["epoch=10"], 10),
        (["epoch=2"], 2),
        (["model_ckpt=openlrm-e2.ckpt"], 2),
        (["model_ckpt=ckpt/openlrm-e2.ckpt", "epoch=2"], 2),
    ],
    ids=["newest", "epoch 10", "epoch 2", "by name", "by both"],
)
def test_run_folder(options, epoch, infer, run_folder):
    dumps = infer("export_planes=true")
    infer(f"model_name={run_folder}", "export_planes=true", *options)
    golden, ours = (
        load_file(dumps / name / "planes" / "mug_full.safetensors") for name in ("golden", f"my-run/e{epoch}")
    )
    difference = ours["planes"] - golden["planes"]
    assert np.allclose(difference, 0 if epoch == 10 else 1, atol=1e-5)


def test_checkpoint_file(infer, run_folder):
    dumps = infer(f"model_name={run_folder / 'ckpt' / 'openlrm-e10.ckpt'}", "export_planes=true")
    assert (dumps / "my-run" / "e10" / "planes" / "mug_full.safetensors").is_file()


def test_results_of_epochs_and_runs_stand_side_by_side(infer, run_folder, tmp_path):
    """Two epochs of a run, the same epoch of another run, and of one of the same name: none replaces another."""
    for other in ("other", "a/named", "b/named"):
        shutil.copytree(run_folder, tmp_path / other)
        (tmp_path / other / "cfg.yaml").touch()
    models = [run_folder, *(tmp_path / other for other in ("other", "a/named", "b/named"))]
    options = ["export_planes=true", "skip_existing=true"]
    for folder in models:
        for epoch in (2, 10):
            dumps = infer(f"model_name={folder / 'ckpt' / f'openlrm-e{epoch}.ckpt'}", *options)
    assert len(list(dumps.rglob("*.safetensors"))) == 8
    values = [
        load_file(dumps / "my-run" / name / "planes" / "mug_full.safetensors")["planes"] for name in ("e2", "e10")
    ]
    assert np.allclose(values[0] - values[1], 1, atol=1e-5)
    infer(f"model_name={run_folder}", "epoch=2", *options)  # the same by another name
    assert len(list(dumps.rglob("*.safetensors"))) == 8


@pytest.fixture
def cups(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("cup.png", "cup_mask.png", "CUP_depth.png"):
        shutil.copy(MUG, folder / name)
    return folder


def test_names_are_told_apart_over_all_kinds(infer, cups, capsys):
    """The mask's video of cup and the turntable of cup_mask would have one name."""
    wanted = ["export_video=true", "export_mask=true", "export_depth=true", "video_format=gif", f"image_input={cups}"]
    infer(*wanted, "dry_run=true")
    told = re.findall(r"# writes (\S+)$", capsys.readouterr().out, re.M)
    dumps = infer(*wanted)
    written = sorted(str(path.relative_to(dumps.parent)) for path in dumps.rglob("*.gif"))
    assert len(written) == len({name.casefold() for name in written}) == 9
    assert written == sorted(told)
    # Alone, a kind needs no longer names.
    dumps = infer("export_planes=true", f"image_input={cups}")
    assert {path.stem for path in dumps.rglob("*.safetensors")} == {"cup", "cup_mask", "CUP_depth"}


def test_results_inside_the_input_are_not_input_of_the_next_run(infer, cups, capsys):
    options = ["export_video=true", "video_format=png", "render_views=2", f"image_input={cups}"]
    for _ in range(2):
        infer(*options, f"video_dump={cups / 'out'}")
        assert {path.name for path in (cups / "out").iterdir()} == {"cup", "cup_mask", "CUP_depth"}
    infer(*options, f"video_dump={cups}", code=2)
    assert "among those they are made from" in capsys.readouterr().err


def test_source_distance_matters(infer, tmp_path):
    """The option reaches the camera embedding."""
    for distance in (2, 3):
        infer("export_planes=true", f"source_cam_dist={distance}", f"planes_dump={tmp_path / str(distance)}")
    near, far = (load_file(tmp_path / d / "mug_full.safetensors")["planes"] for d in ("2", "3"))
    assert np.abs(near - far).max() > 1e-3


def test_a_picture_that_is_too_much_is_the_only_one_that_fails(infer, pictures, capsys, monkeypatch):
    """A thin one takes no more than its pixels; where memory ends all the same, the others go on."""
    Image.new("RGB", (300_000, 2), "white").save(pictures / "b" / "thin.png")
    dumps = infer(f"image_input={pictures}", "export_planes=true")
    assert len(list(dumps.rglob("*.safetensors"))) == 4
    from openlrm.families import reconstructor

    def prepare(image, size, name):
        if name.name == "thin.png":
            raise MemoryError
        return np.ones((1, 3, size, size), np.float32)

    monkeypatch.setattr(reconstructor, "prepare_image", prepare)
    shutil.rmtree(dumps)
    infer(f"image_input={pictures}", "export_planes=true", code=2)
    assert len(list(dumps.rglob("*.safetensors"))) == 3
    assert re.search(r"thin\.png: not enough memory", capsys.readouterr().err)


def test_a_background_is_warned_of(infer, tmp_path, capsys):
    Image.new("RGB", (24, 24), (90, 120, 150)).save(tmp_path / "wall.png")
    infer(f"image_input={tmp_path / 'wall.png'}", "export_planes=true", "logger=warning")
    err = capsys.readouterr().err
    assert re.fullmatch(r"warning: .*wall\.png: the background is not white.*\n", err)


def test_help_lists_every_option_without_mindspore():
    script = (
        "import sys; sys.modules['mindspore'] = None\n"
        "from openlrm.launch import main; sys.exit(main(['infer.lrm', '--help']))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    for field in dataclasses.fields(InferConfig):
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        shown = str(default)
        if default is None or isinstance(default, bool):
            shown = {None: "null", True: "true", False: "false"}[default]
        entry = re.search(rf"^  {field.name}=(\S+)  \((.*)\)\n      (\S.*)", result.stdout, re.MULTILINE)
        assert entry, field.name
        assert entry.group(1) == shown


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("kind", "number"), [("mp4", signal.SIGINT), ("png", signal.SIGINT), ("mp4", signal.SIGTERM)], ids=str
)
def test_interrupted(kind, number, tmp_path):
    """Nothing half-written stays. Control-C, as sent here, reaches the encoder as well."""
    options = [f"model_name={GOLDEN}", f"image_input={MUG}", "source_size=56", "device_target=CPU", "export_video=true"]
    options += ["render_size=64", "render_views=20000", f"video_format={kind}", "video_dump=out"]
    with subprocess.Popen(
        [sys.executable, "-m", "openlrm.launch", "infer.lrm", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background job ignores the interrupt, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/.tmp-*")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        started = list(tmp_path.glob("out/.tmp-*"))
        time.sleep(0.5)
        os.killpg(process.pid, number)
        err = process.stderr.read().decode()
    assert started, err
    assert process.returncode == 130, err
    assert err.split("\n")[-2].endswith("interrupted")
    assert "Traceback" not in err
    assert [path for path in tmp_path.rglob("*") if path.name != "out"] == []
