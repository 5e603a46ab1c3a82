"""`eval.lrm` and `eval.py` from the command line to the files, with the miniature model."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from openlrm import launch
from openlrm.cameras import normalize_poses
from openlrm.datasets import object_views
from openlrm.evaluation.baselines import MeanObject
from openlrm.evaluation.report import heat
from openlrm.evaluation.scores import METRICS, PSNR_LIMIT, score_object

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
SAMPLE = REPO / "assets" / "sample_object" / "food_dinner"
SIZE = 24
STRAIGHT = np.eye(3)
SMALL = (f"model_path={GOLDEN}", "source_size=56", f"render_size={SIZE}", "lpips_backbone=none", "device_target=CPU")


def write_object(folder: Path, views: list[int], turn: np.ndarray = STRAIGHT) -> None:
    """Some views of the sample object, numbered anew, in a world turned by a rotation."""
    for part in ("rgba", "pose"):
        (folder / part).mkdir(parents=True)
    shutil.copy(SAMPLE / "intrinsics.npy", folder)
    for number, view in enumerate(views):
        shutil.copy(SAMPLE / "rgba" / f"{view:03d}.png", folder / "rgba" / f"{number:03d}.png")
        pose = np.load(SAMPLE / "pose" / f"{view:03d}.npy")
        np.save(folder / "pose" / f"{number:03d}.npy", turn @ pose)


@pytest.fixture
def data(tmp_path) -> Path:
    """Two objects of four views."""
    root = tmp_path / "data"
    write_object(root / "a", [0, 5, 9, 20])
    write_object(root / "b", [3, 4, 17, 30])
    (root / "meta.json").write_text('["a", "b"]')
    return root


@pytest.fixture
def evaluate(tmp_path, data, monkeypatch):
    """Run the command in a scratch folder; later options win over the usual ones. Returns the folder of the results."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str, code: int = 0, version: str = "release") -> Path:
        given = {option.partition("=")[0] for option in options}
        usual = [*SMALL, f"data_root={data}", "output_path=out"]
        before = [option for option in usual if option.partition("=")[0] not in given]
        assert launch.main(["eval.lrm", *before, *[option for option in options if option[-1] != "="]]) == code
        return tmp_path / "out" / version

    return run


def composited(path: Path) -> np.ndarray:
    """A picture on white, (H, W, 3)."""
    picture = np.asarray(Image.open(path), np.float64) / 255
    return picture[..., :3] * picture[..., 3:] + 1 - picture[..., 3:]


def report(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def without_times(entry):
    if isinstance(entry, dict):
        return {key: without_times(value) for key, value in entry.items() if not key.startswith("seconds")}
    return entry


def test_as_typed(tmp_path):
    """The script and the runner are the same, as a user types them in the repository."""
    options = [
        "--model_path",
        "openlrm/families/lrm/golden",
        "--data_root",
        "assets/sample_object",
        "source_size=56",
        "render_size=16",
    ]
    options += ["lpips_backbone=none"]
    for name, command in (("a", ["eval.py"]), ("b", ["-m", "openlrm.launch", "eval.lrm"])):
        result = subprocess.run(
            [sys.executable, *command, *options, "--output_path", str(tmp_path / name)],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
        assert "Traceback" not in result.stderr and "[WARNING]" not in result.stderr
    folders = tmp_path / "a" / "release", tmp_path / "b" / "release"
    assert without_times(report(folders[0])) == without_times(report(folders[1]))
    names = ["log_0.txt", "metrics.csv", "metrics.json", "protocol.yaml", "report.html", "sheets"]
    assert sorted(path.name for path in folders[0].iterdir()) == names
    assert [path.name for path in (folders[0] / "sheets").iterdir()] == ["food_dinner.png"]
    log = (folders[0] / "log_0.txt").read_text()
    assert "food_dinner: PSNR" in log and "mean of 1 objects: PSNR" in log and "input copied" in log
    assert len(report(folders[0])["objects"]["food_dinner"]["views"]) == 32


def canonical(poses: np.ndarray) -> np.ndarray:
    """Poses in the frame where the first stands at (0, -distance, 0): by inverting 4x4 matrices."""
    whole = [np.vstack([pose, [0, 0, 0, 1]]) for pose in poses]
    there = np.array([[1, 0, 0, 0], [0, 0, -1, -np.linalg.norm(poses[0][:, 3])], [0, 1, 0, 0], [0, 0, 0, 1]])
    return np.stack([there @ np.linalg.inv(whole[0]) @ pose for pose in whole])


def test_figures_are_those_of_the_definition(evaluate, data, mini, pynative):
    """Object b, whose first view is no canonical one, step by step."""
    from mindspore import Tensor

    from openlrm.utils.images import resize_bicubic

    poses = canonical(np.stack([np.load(data / "b" / "pose" / f"{view:03d}.npy") for view in range(4)]))
    pictures = [np.asarray(Image.open(data / "b" / "rgba" / f"{view:03d}.png"), np.float32) / 255 for view in range(4)]
    white = np.stack([p[..., :3] * p[..., 3:] + 1 - p[..., 3:] for p in pictures]).transpose(0, 3, 1, 2)
    source = np.clip(resize_bicubic(white[:1], 56), 0, 1)
    truth = np.clip(resize_bicubic(white, SIZE), 0, 1)
    alpha = np.clip(resize_bicubic(np.stack([p[..., 3] for p in pictures]), SIZE), 0, 1) > 0.5
    record = np.concatenate([poses[0][:3].reshape(12), [0.75, 0.75, 0.5, 0.5]])
    matrix = [0.75, 0, 0.5, 0, 0.75, 0.5, 0, 0, 1]
    cameras = np.stack([np.concatenate([pose.reshape(16), matrix]) for pose in poses])
    arrays = [cameras[None], np.zeros((1, 4, 2)), np.full((1, 4, 1), SIZE), np.ones((1, 4, 1))]
    planes = mini.forward_planes(*(Tensor(a.astype(np.float32)) for a in (source, record[None])))
    views = mini.synthesizer(planes, *(Tensor(a.astype(np.float32)) for a in arrays), SIZE)
    shown, opacity = (views[key].asnumpy()[0] for key in ("images_rgb", "images_weight"))
    error = (np.clip(shown, 0, 1).astype(np.float64) - truth) ** 2

    found = report(evaluate())["objects"]["b"]
    decibels = -10 * np.log10(error.mean((1, 2, 3)))
    assert [view["psnr"] for view in found["views"]] == pytest.approx(decibels, abs=1e-3)
    assert found["without_input_view"]["psnr"] == pytest.approx(decibels[1:].mean(), abs=1e-3)
    assert found["with_input_view"]["psnr"] == pytest.approx(decibels.mean(), abs=1e-3)
    inside = np.repeat(alpha[:, None], 3, axis=1)
    assert found["without_input_view"]["psnr_object"] == pytest.approx(
        -10 * np.log10(error[1:][inside[1:]].mean()), abs=1e-3
    )
    solid = opacity[:, 0] > 0.5
    overlap = (solid & alpha).sum((1, 2)) / (solid | alpha).sum((1, 2))
    assert found["with_input_view"]["mask_iou"] == pytest.approx(overlap.mean(), abs=5e-3)
    copied = ((truth[:1] - truth[1:]) ** 2).mean((1, 2, 3))
    assert found["input_copied"]["psnr"] == pytest.approx((-10 * np.log10(copied)).mean(), abs=1e-3)


def test_report_files_agree(evaluate, data):
    folder = evaluate()
    found = report(folder)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["uid"] for row in rows] == ["a", "b", "mean"]
    for row, entry in zip(rows, [*found["objects"].values(), found["mean"]], strict=True):
        for column, kind in (
            ("{}", "without_input_view"),
            ("{}_with_input", "with_input_view"),
            ("copy_{}", "input_copied"),
        ):
            for metric in METRICS:
                value = row[column.format(metric)]
                assert float(value or "nan") == pytest.approx(entry[kind][metric] or np.nan, rel=1e-5, nan_ok=True)
    for metric in ("psnr", "ssim", "psnr_object", "mask_iou"):
        values = [entry["without_input_view"][metric] for entry in found["objects"].values()]
        assert found["mean"]["without_input_view"][metric] == pytest.approx(np.mean(values))
    protocol = yaml.safe_load((folder / "protocol.yaml").read_text())
    assert protocol["data"] == {"roots": [str(data)], "objects": ["a", "b"], "views_per_object": [4]}
    assert protocol["input"] == {"view": 0, "size": 56, "background": 1.0}
    assert protocol["cameras"] == {"normalized": True, "distance": "auto"}
    assert protocol["metrics"]["lpips"] == "left out: lpips_backbone=none"
    assert protocol["versions"]["mindspore"] and protocol["device"]["target"] == "CPU"
    with Image.open(folder / "sheets" / "b.png") as sheet:
        pixels = np.asarray(sheet)
    # Input and three views; a header above truth, render and error; four pixels between pictures.
    assert pixels.shape == (16 + 3 * (SIZE + 4), 4 * (SIZE + 4), 3)


def test_mean_training_object(evaluate, data, tmp_path):
    """Of every object the picture whose camera is nearest, added up; the column in the table is the same."""
    (tmp_path / "seen.json").write_text('["a", "b"]')
    folder = evaluate("mean_of=seen.json", "uids=b", "render_size=")
    found = report(folder)
    canonical = {name: normalize_poses([np.load(p) for p in sorted((data / name / "pose").iterdir())]) for name in "ab"}
    centres = {name: poses[:, :3, 3] for name, poses in canonical.items()}
    white = {name: [composited(data / name / "rgba" / f"{view:03d}.png") for view in range(4)] for name in centres}
    decibels = []
    for view in range(1, 4):
        distances = np.linalg.norm(centres["a"] - centres["b"][view], axis=1)
        mean = (white["a"][int(np.argmin(distances))] + white["b"][view]) / 2
        decibels.append(-10 * np.log10(((mean - white["b"][view]) ** 2).mean()))
    assert found["mean"]["mean_object"]["psnr"] == pytest.approx(np.mean(decibels), abs=0.01)
    row = next(csv.DictReader((folder / "metrics.csv").open()))
    assert float(row["mean_psnr"]) == pytest.approx(np.mean(decibels), abs=0.01)
    assert "the mean training object: PSNR" in (folder / "log_0.txt").read_text()


def test_mean_of_one_object_is_that_object(data):
    """Also when it is shown larger than it is stored."""
    mean = MeanObject([str(data)], ["a"], 1.0, True, "auto")
    item = object_views(str(data), "a")
    shown, opacity = mean.render(item.cameras, 160)
    truth, alpha = item.on(1.0, 160)
    np.testing.assert_allclose(shown, truth, atol=2e-3)
    np.testing.assert_allclose(opacity, alpha, atol=2e-3)


def test_counting_the_input_view_changes_what_the_log_shows(evaluate):
    found = report(evaluate())
    counted = report(evaluate("count_input_view=true"))
    assert counted["input_view_counts"] and counted["mean"]["with_input_view"] == found["mean"]["with_input_view"]
    logged = Path("out/release/log_0.txt").read_text()
    assert logged.count("mean of 2 objects") == 1
    assert f"mean of 2 objects: PSNR {found['mean']['with_input_view']['psnr']:.2f}" in logged


def test_background_and_size(evaluate, data):
    """Stored views without render_size; the truth stands on the background that is rendered."""
    folder = evaluate("background=0", "uids=a", "render_size=")
    copied = report(folder)["objects"]["a"]["input_copied"]["psnr"]
    pictures = [np.asarray(Image.open(data / "a" / "rgba" / f"{view:03d}.png"), np.float64) / 255 for view in range(4)]
    black = [picture[..., :3] * picture[..., 3:] for picture in pictures]
    assert copied == pytest.approx(np.mean([-10 * np.log10(((black[0] - b) ** 2).mean()) for b in black[1:]]), abs=1e-3)
    assert Image.open(folder / "sheets" / "a.png").size[0] == 4 * (128 + 4)


def test_the_world_may_be_turned(evaluate, data, tmp_path):
    """Cameras are normalised: a data set in other axes gives the same figures, of meshes too."""
    import trimesh

    from openlrm.geometry.mesh_io import save_mesh

    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    box = trimesh.creation.box((1.0, 0.5, 0.3))
    corners = box.vertices + np.array([0.5, 0.2, 0.1])
    found = []
    for name, rotation in (("straight", STRAIGHT), ("turned", turn)):
        write_object(tmp_path / name / "a", [0, 5, 9, 20], rotation)
        (tmp_path / name / "meta.json").write_text('["a"]')
        # .glb is written Y-up and has to be turned back.
        save_mesh(tmp_path / name / "a.glb", corners @ rotation.T, box.faces, np.ones((8, 3)))
        given = [f"data_root={tmp_path / name}", f"mesh_root={tmp_path / name}", "mesh_size=24"]
        found.append(report(evaluate(*given))["objects"]["a"])
    for kind in ("with_input_view", "input_copied"):
        assert found[0][kind]["psnr"] == pytest.approx(found[1][kind]["psnr"], abs=1e-2)
    for name in ("chamfer", "accuracy", "completeness", "f_score_0.05", "f_score_0.1", "f_score_0.2"):
        assert found[0]["mesh"][name] == pytest.approx(found[1]["mesh"][name], rel=1e-2)


@pytest.mark.parametrize("suffix", ["glb", "ply", "obj"])
def test_a_perfect_mesh(suffix, evaluate, tmp_path, data):
    """The model's own mesh, from infer.lrm's exporter, taken as the truth after shrinking it."""
    import trimesh

    from openlrm.api import load_model
    from openlrm.datasets import object_views
    from openlrm.geometry.mesh_io import save_mesh

    views = object_views(str(data), "a")
    mesh = load_model(GOLDEN, "CPU")(views.rgba[0], views.cameras[0]).mesh(24)
    save_mesh(tmp_path / "truth" / f"a.{suffix}", mesh.vertices * 0.4 + 3, mesh.faces, mesh.colors)
    folder = evaluate("uids=a", f"mesh_root={tmp_path / 'truth'}", "mesh_size=24", "mesh_points=20000")
    figures = report(folder)["mean"]["mesh"]
    # What is left is the spacing of the points.
    spacing = np.sqrt(trimesh.Trimesh(mesh.vertices, mesh.faces).area / 20000)
    assert figures["chamfer"] < spacing and figures["f_score_0.1"] > 0.99
    assert "Chamfer 0.0" in (folder / "log_0.txt").read_text()


def test_a_protocol_whose_meshes_are_turned(evaluate, tmp_path, data, capsys):
    """The model's own mesh, shrunk, moved and turned by a right angle, is found by the search."""
    import trimesh

    from openlrm.api import load_model
    from openlrm.datasets import object_views
    from openlrm.geometry.mesh_io import save_mesh

    views = object_views(str(data), "a")
    mesh = load_model(GOLDEN, "CPU")(views.rgba[0], views.cameras[0]).mesh(16)
    turned = 0.4 * mesh.vertices @ np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]) + 3
    save_mesh(tmp_path / "truth" / "a.ply", turned.astype(np.float32), mesh.faces, mesh.colors)
    own = tmp_path / "search.yaml"
    own.write_text("options: {mesh_alignment: search, mesh_points: 2000, mesh_size: 16}\nneeds: [mesh_root]")
    given = ["uids=a", f"mesh_root={tmp_path / 'truth'}"]
    searched = evaluate(*given, f"protocol={own}")
    boxed = evaluate(*given, "mesh_points=2000", "mesh_size=16", "output_path=other")
    boxed = tmp_path / "other" / boxed.name
    # What is left is the spacing of the points; width and height of the picture are the world's X and Z.
    extents, root = np.ptp(mesh.vertices, axis=0), np.sqrt(trimesh.Trimesh(mesh.vertices, mesh.faces).area / 2000)
    assert report(searched)["mean"]["mesh"]["chamfer"] < root / max(extents[0], extents[2])
    protocol = yaml.safe_load((searched / "protocol.yaml").read_text())["protocol"]
    assert protocol["name"] == str(own) and len(protocol["objects_sha256"]) == 64
    assert launch.main(["compare", str(searched), str(boxed)]) == 2
    assert "results of different protocols" in capsys.readouterr().err
    evaluate(*given, "protocol=zeroshape-bf", "mesh_points=700", code=2)
    assert "protocol zeroshape-bf fixes mesh_points=10000, not 700" in capsys.readouterr().err


def test_what_is_not_seen_of_a_true_mesh_does_not_count(evaluate, tmp_path):
    """A far vertex without a face, and one of a face without area: the figures of the faces alone."""
    import trimesh

    from openlrm.evaluation.meshes import read_mesh

    box = trimesh.creation.box((1.0, 0.5, 0.3))
    lines = [f"v {x} {y} {z}" for x, y, z in [*box.vertices, (40, 0, 0), (0, 70, 0)]]
    lines += ["f {} {} {}".format(*face) for face in box.faces + 1]
    found = []
    for name, more in (("clean", []), ("stray", ["f 10 10 10"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.obj").write_text("\n".join([*lines[:8], *lines[8 if more else 10 :], *more]))
        given = [f"mesh_root={tmp_path / name}", "mesh_size=24", "uids=a"]
        found.append(report(evaluate(*given))["objects"]["a"]["mesh"])
    assert found[1]["chamfer"] == pytest.approx(found[0]["chamfer"], rel=1e-6)
    assert len(read_mesh(tmp_path / "stray" / "a.obj", "auto")[1]) == 13


def test_axes_of_true_meshes(tmp_path):
    """What the exporter writes comes back upright in every format; obj is Y up, but for files of earlier versions."""
    from openlrm.evaluation.meshes import read_mesh
    from openlrm.geometry.mesh_io import save_mesh

    corners, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3.0]]), np.array([[0, 2, 1], [0, 1, 3]])
    for suffix in ("glb", "obj", "ply", "stl"):
        save_mesh(tmp_path / f"a.{suffix}", corners, faces, np.ones((4, 3)))
        vertices, _ = read_mesh(tmp_path / f"a.{suffix}", "auto")
        np.testing.assert_allclose([vertices.min(0), vertices.max(0)], [[0, 0, 0], [1, 2, 3]], atol=1e-6)
    sides = "f 1 3 2\nf 1 2 4\n"
    plain = "v 0 0 0\nv 1 0 0\nv 0 0 -2\nv 0 3 0\n" + sides
    former = "".join(f"v {x:.6f} {y:.6f} {z:.6f} 1.000000 1.000000 1.000000\n" for x, y, z in corners) + sides
    for text in (plain, former):
        (tmp_path / "b.obj").write_text(text)
        np.testing.assert_allclose(read_mesh(tmp_path / "b.obj", "auto")[0].max(0), [1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(read_mesh(tmp_path / "b.obj", "y")[0].max(0), [1, 0, 2], atol=1e-6)


def test_true_meshes_are_what_is_rendered(tmp_path, write_glb):
    """Morph weights count, and a file that needs a compression nobody reads here names it."""
    from openlrm.errors import UserError
    from openlrm.evaluation.meshes import read_mesh

    flat = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    primitive = {"attributes": {"POSITION": 0}, "targets": [{"POSITION": 1}]}
    document = {"nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive], "weights": [0.5]}]}
    path = write_glb(tmp_path / "a.glb", document, [flat, flat * np.float32([2, 0, 0])])
    np.testing.assert_allclose(read_mesh(path, "auto")[0].max(0), [2, 0, 1])
    needed = {"extensionsRequired": ["KHR_draco_mesh_compression"]}
    with pytest.raises(UserError, match="KHR_draco_mesh_compression"):
        read_mesh(write_glb(tmp_path / "b.glb", document | needed, [flat, flat]), "auto")


def test_meshes_that_cannot_be_compared(evaluate, tmp_path, capsys):
    """No surface where there should be one is a warning; a damaged true mesh costs the object."""
    import trimesh

    (tmp_path / "truth").mkdir()
    trimesh.creation.box().export(tmp_path / "truth" / "a.ply")
    folder = evaluate(f"mesh_root={tmp_path / 'truth'}", "mesh_size=16", "mesh_thres=1e6")
    found = report(folder)
    assert found["objects"]["a"]["mesh"] is None and "mesh" not in found["mean"]
    err = capsys.readouterr().err
    assert "a: no figures of the mesh: no surface" in err and "b: no mesh in" in err
    (tmp_path / "truth" / "b.ply").write_text("no mesh")
    found = report(evaluate(f"mesh_root={tmp_path / 'truth'}", "mesh_size=16", code=2))
    assert list(found["objects"]) == ["a"] and "cannot read the mesh" in found["failed"]["b"]
    assert found["mean"]["meshes_compared"] == 1


def write_run(folder: Path, data: Path, **changes) -> Path:
    """A run folder as train.lrm leaves it, as far as evaluation reads it."""
    from openlrm.checkpoint import write_ckpt

    config = {"subsets": [{"root_dirs": [str(data)], "meta_path": None}], "source_image_res": 56}
    config |= {"normalize_camera": True, "normed_dist_to_center": "auto"} | changes
    (folder / "ckpt").mkdir(parents=True)
    shutil.copy(GOLDEN / "config.json", folder)
    (folder / "cfg.yaml").write_text(yaml.safe_dump({"data": config, "train": {"batch_size": 1}}))
    (folder / "train_uids.json").write_text('["a"]')
    for epoch in (2, 10):
        write_ckpt(folder / "ckpt" / f"openlrm-e{epoch}.ckpt", load_file(GOLDEN / "model.safetensors"))
    return folder


def test_run_folder(evaluate, data, tmp_path, capsys):
    """Data, sizes and cameras come from the training; its objects are pointed out."""
    run = write_run(tmp_path / "run", data)
    released = report(evaluate())
    folder = evaluate(f"model_path={run}", "data_root=", "source_size=", version="e10")
    found = report(folder)
    assert found["mean"]["with_input_view"] == released["mean"]["with_input_view"]
    assert {uid: entry["in_training"] for uid, entry in found["objects"].items()} == {"a": True, "b": False}
    assert {uid: entry["in_training"] for uid, entry in released["objects"].items()} == {"a": None, "b": None}
    for group, uid in (("trained_on", "a"), ("not_trained_on", "b")):
        assert found[group]["uids"] == [uid]
        assert found[group]["mean"]["with_input_view"] == found["objects"][uid]["with_input_view"]
    err = capsys.readouterr().err
    assert "warning: 1 of 2 objects were trained on (a)" in err and "a (training object): PSNR" in err
    assert "trained on" in (folder / "log_0.txt").read_text()
    evaluate(f"model_path={run}", "data_root=", "source_size=", "ckpt_name=openlrm-e2.ckpt", version="e2")
    assert Path("out/e2/metrics.json").is_file()


def test_release_folder_that_tells_of_its_training(evaluate, tmp_path):
    """The size of the input is in config.json; train_uids.json may lie beside it."""
    release = tmp_path / "model"
    release.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name, release)
    (release / "train_uids.json").write_text('["b"]')
    folder = evaluate(f"model_path={release}", "source_size=")
    assert yaml.safe_load((folder / "protocol.yaml").read_text())["input"]["size"] == 56
    assert [entry["in_training"] for entry in report(folder)["objects"].values()] == [False, True]


def test_size_that_nothing_tells(evaluate, tmp_path, capsys):
    release = tmp_path / "model"
    release.mkdir()
    shutil.copy(GOLDEN / "model.safetensors", release)
    config = json.loads((GOLDEN / "config.json").read_text()) | {"encoder_model_name": "dinov2_vits14_reg"}
    del config["encoder"]
    (release / "config.json").write_text(json.dumps(config))
    evaluate(f"model_path={release}", "source_size=", code=2)
    assert "source_size is missing" in capsys.readouterr().err


def test_cameras_as_in_the_training(evaluate, data, tmp_path):
    """A run with cameras left as they are, or moved to a distance, is evaluated so, unless asked otherwise."""
    plain = report(evaluate("normalize_camera=false"))["mean"]
    moved = report(evaluate("normed_dist_to_center=3"))["mean"]
    auto = report(evaluate())["mean"]
    for name, expected, changes in (
        ("plain", plain, {"normalize_camera": False}),
        ("moved", moved, {"normed_dist_to_center": 3.0}),
    ):
        run = write_run(tmp_path / name, data, **changes)
        found = report(evaluate(f"model_path={run}", version="e10"))["mean"]
        assert found["with_input_view"] == expected["with_input_view"] != auto["with_input_view"]
    again = ["normalize_camera=true", "normed_dist_to_center=auto"]
    found = report(evaluate(f"model_path={tmp_path / 'moved'}", *again, version="e10"))["mean"]
    assert found["with_input_view"] == auto["with_input_view"]


@pytest.mark.parametrize("content", ['["b"]', "b\n\n"], ids=["json", "lines"])
def test_named_objects(content, evaluate, tmp_path):
    (tmp_path / "names").write_text(content)
    for options in (["uids=b"], [f"uid_file={tmp_path / 'names'}"]):
        assert list(report(evaluate(*options))["objects"]) == ["b"]


def test_an_object_of_one_view(evaluate, tmp_path):
    """There is nothing but the input to compare."""
    write_object(tmp_path / "single" / "a", [0])
    folder = evaluate(f"data_root={tmp_path / 'single'}", "uids=a")
    found = report(folder)["mean"]
    assert found["without_input_view"] is None and found["input_copied"] is None
    assert found["with_input_view"]["psnr"] > 0
    assert "no view but the input" in (folder / "log_0.txt").read_text()


def test_a_broken_object_is_left_out(evaluate, data, capsys):
    (data / "a" / "rgba" / "002.png").write_bytes(b"no picture")
    folder = evaluate(code=2)
    found = report(folder)
    assert list(found["objects"]) == ["b"] and "002.png" in found["failed"]["a"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: 1 of 2 objects failed")


@pytest.fixture(scope="module")
def vgg(tmp_path_factory) -> Path:
    """A VGG16 with few features that are not zero: fast to draw, LPIPS all the same."""
    from safetensors.numpy import save_file

    from openlrm.losses.backbone import VGG16_LAYERS

    rng = np.random.default_rng(0)
    tensors = {}
    for layer, (outputs, inputs) in VGG16_LAYERS.items():
        weight = np.zeros((outputs, inputs, 3, 3), np.float32)
        weight[:8, : min(inputs, 8)] = rng.normal(size=(8, min(inputs, 8), 3, 3)) * 0.2
        tensors |= {f"features.{layer}.weight": weight, f"features.{layer}.bias": np.zeros(outputs, np.float32)}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(tensors, path)
    return path


def test_lpips(evaluate, vgg, data):
    from openlrm.metrics import PerceptualMetric

    folder = evaluate(f"lpips_backbone={vgg}", "uids=a", "render_size=")
    found = report(folder)["objects"]["a"]
    pictures = [np.asarray(Image.open(data / "a" / "rgba" / f"{view:03d}.png"), np.float32) / 255 for view in range(4)]
    white = [(p[..., :3] * p[..., 3:] + 1 - p[..., 3:]).transpose(2, 0, 1) for p in pictures]
    metric = PerceptualMetric(vgg)
    expected = np.mean([metric(white[0], other) for other in white[1:]])
    assert found["input_copied"]["lpips"] == pytest.approx(expected, rel=1e-4)
    assert found["without_input_view"]["lpips"] > 0
    assert "LPIPS" in (folder / "log_0.txt").read_text()
    small = report(evaluate(f"lpips_backbone={vgg}", "uids=a", "render_size=10"))["mean"]["with_input_view"]
    assert small["lpips"] is None and small["ssim"] is None and small["psnr"] > 0
    assert str(vgg) in yaml.safe_load((folder / "protocol.yaml").read_text())["metrics"]["lpips"]


def test_without_a_backbone_the_report_says_so(evaluate, monkeypatch):
    def fetch(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    folder = evaluate("lpips_backbone=auto", "uids=a")
    assert report(folder)["mean"]["with_input_view"]["lpips"] is None
    told = yaml.safe_load((folder / "protocol.yaml").read_text())["metrics"]["lpips"]
    assert told.startswith("left out: the VGG16 weights") and "no route to the hub" in told
    assert "no LPIPS: the VGG16" in (folder / "log_0.txt").read_text()


def test_graph_mode(evaluate):
    eager, graph = (report(evaluate("uids=a", f"mode={mode}", "renderer=device"))["mean"] for mode in (1, 0))
    assert graph["with_input_view"]["psnr"] == pytest.approx(eager["with_input_view"]["psnr"], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model_path=nowhere"], "model not found: nowhere"),
        (["data_root=nowhere"], "no meta.json: nowhere/meta.json"),
        (["data_root="], "data_root is missing"),
        (["uids=c"], "no object 'c'"),
        (["uids=../data/a"], "does not stay inside the data folder"),
        (["uids=a", "uid_file=x"], "two ways to name the objects"),
        (["uid_file=x"], "cannot read the list of objects"),
        (["source_size=57"], "not a multiple of the encoder's patch side 14"),
        (["normed_dist_to_center=near"], "normed_dist_to_center=near is neither auto nor a number"),
        (["uids=a", "normed_dist_to_center=-1"], "camera distance must be positive"),
        (["lpips_backbone=vgg.safetensors"], "no VGG16 weights"),
        (["mesh_root=nowhere"], "no mesh of any object: nowhere"),
        (["uids=a", "mesh_root=meshes"], "cannot read the mesh"),
        (["output_path=data/meta.json"], "data/meta.json"),
        (["background=2"], "background=2.0 is not float from 0"),
        (["bckground=1"], "did you mean background?"),
        (["ckpt_name=openlrm-e3.ckpt"], "model_ckpt=openlrm-e3.ckpt not found"),
    ],
)
def test_bad_input(options, message, evaluate, tmp_path, capsys):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "a.ply").write_text("no mesh")
    evaluate(*options, code=2)
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: ") and message in err.splitlines()[-1], err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out/*/metrics.*"))


def test_damaged_run_folder(evaluate, data, tmp_path, capsys):
    run = write_run(tmp_path / "run", data)
    (run / "cfg.yaml").write_text("data: [")
    evaluate(f"model_path={run}", code=2)
    assert "cannot read the run's config" in capsys.readouterr().err


def test_equal_pictures_count_a_hundred_decibels():
    truth = np.random.default_rng(0).random((3, 3, 16, 16)).astype(np.float32)
    alpha = np.zeros((3, 16, 16), np.float32)
    alpha[1, 4:8, 4:8] = 1
    scores = score_object(truth, alpha, truth, alpha, None)
    expected = {"psnr": PSNR_LIMIT, "ssim": 1, "lpips": None, "psnr_object": PSNR_LIMIT, "mask_iou": 1}
    assert scores["without_input_view"] == scores["with_input_view"] == pytest.approx(expected)
    # Where the object is not seen it has no pixels to measure.
    assert [view["psnr_object"] for view in scores["views"]] == [None, PSNR_LIMIT, None]


def test_colours_of_errors():
    shown = heat(np.array([[0, 1 / 3, 2 / 3, 1]], np.float32))
    np.testing.assert_allclose(shown[:, 0].T, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], atol=1e-6)
