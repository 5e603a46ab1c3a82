"""The Python interface as the documentation shows it, with the miniature model."""

import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import trimesh
from PIL import Image

import openlrm
from openlrm import api, launch
from openlrm.cameras import Camera, look_at
from openlrm.errors import UserError
from openlrm.geometry.mesh import extract_mesh

REPO = Path(__file__).resolve().parents[1]
SAMPLES = REPO / "assets" / "sample_input"


@pytest.fixture(scope="module")
def model():
    return openlrm.load_model(REPO / "openlrm" / "families" / "lrm" / "golden", "CPU")


@pytest.fixture(scope="module")
def scene(model):
    return openlrm.reconstruct(SAMPLES / "knight.png", model)


def test_five_lines(monkeypatch, tmp_path, golden_dir):
    """The lines of the package's docstring, with a small model where the default one is."""
    lines = [line.strip() for line in openlrm.__doc__.splitlines() if line.startswith("    ")]
    documented = (REPO / "docs" / "python.md").read_text(encoding="utf-8")
    assert len(lines) == 5 and f"```python\n{lines[0]}\n\n" + "\n".join(lines[1:]) in documented
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "default_model", lambda: golden_dir)
    (tmp_path / "assets").symlink_to(REPO / "assets")
    # The usual grid has 384^3 points, which is no matter of this test.
    monkeypatch.setattr(
        "openlrm.geometry.field_mesh.extract_mesh",
        lambda density, color, size, *others, **more: extract_mesh(density, color, 24, *others, **more),
    )
    names = {}
    exec("\n".join(lines), names)
    assert names["picture"].size == (256, 256)
    assert len(names["mesh"].faces) > 10
    assert len(trimesh.load_mesh(tmp_path / "building.glb").faces) == len(names["mesh"].faces)


def test_importing_stays_light():
    script = (
        "import sys, openlrm, openlrm.api\n"
        "assert {'reconstruct', 'load_model', 'load_scene'} <= set(dir(openlrm))\n"
        "openlrm.reconstruct, openlrm.load_scene\n"
        "sys.exit(sum(name in sys.modules for name in ('mindspore', 'numpy', 'PIL')))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPO, check=True)


def test_a_picture_may_come_in_any_form(model, scene):
    path = SAMPLES / "knight.png"
    array = np.asarray(Image.open(path))
    with path.open("rb") as file:
        forms = [str(path), file, Image.open(path), array, array.astype(np.float32) / 255]
        planes = [openlrm.reconstruct(form, model).planes.asnumpy() for form in forms]
    for form, found in zip(forms, planes, strict=True):
        np.testing.assert_allclose(found, scene.planes.asnumpy(), atol=1e-4, err_msg=type(form).__name__)


def test_options_reach_the_model(model, scene):
    path = SAMPLES / "knight.png"
    for options in ({"recentre": False}, {"source_cam_dist": 3.0}):
        other = openlrm.reconstruct(path, model, **options).planes.asnumpy()
        assert np.abs(other - scene.planes.asnumpy()).max() > 1e-3, options


def test_a_picture_that_is_not_prepared_goes_in_as_infer_lrm_takes_it(model):
    from mindspore import Tensor

    from openlrm.cameras import Camera
    from openlrm.preprocess.model_input import prepare_image

    path = SAMPLES / "mug_full.png"
    ours = openlrm.reconstruct(path, model, background="keep").planes.asnumpy()
    camera = Tensor(Camera.canonical(2.0).source_record()[None])
    planes = model.model.forward_planes(Tensor(prepare_image(path, 56)), camera)
    np.testing.assert_allclose(ours, planes.asnumpy(), atol=1e-5)


def test_rendered_from_where_it_says(scene):
    """`render` stands where `views` does with the camera written by hand: at +X, looking along -X, Z up."""
    camera = Camera([[0, 0, 1, 1.5], [1, 0, 0, 0], [0, 1, 0, 0]], [0.75, 0.75, 0.5, 0.5])
    (view,) = scene.views(camera[None], 32, background=0.5)
    shown = np.asarray(scene.render(90, distance=1.5, size=32, background=0.5))
    assert np.abs(shown - view.rgb * 255).max() <= 1
    assert np.abs(shown - np.asarray(scene.render(0, distance=1.5, size=32, background=0.5)).astype(int)).max() > 5


@pytest.mark.parametrize("camera", [{"elevation": 91}, {"azimuth": np.nan}, {"distance": 0}])
def test_cameras_that_cannot_be(camera, scene):
    with pytest.raises(UserError):
        scene.render(**camera, size=8)


def test_a_video_does_not_change_later_pictures(scene, tmp_path):
    before = np.asarray(scene.render(30, size=32))
    path = scene.save(tmp_path / "turn.mp4", views=3, size=32, fps=10)
    assert iio.imread(path, plugin="FFMPEG").shape == (3, 32, 32, 3)
    assert np.array_equal(before, np.asarray(scene.render(30, size=32)))


def test_saved_by_suffix(scene, tmp_path):
    for suffix in ("obj", "ply", "stl", "glb"):
        mesh = trimesh.load_mesh(scene.save(tmp_path / f"owl.{suffix}", size=24))
        assert len(mesh.faces) == len(scene.mesh(24).faces), suffix
    with Image.open(scene.save(tmp_path / "owl.gif", views=2, size=16)) as gif:
        assert gif.n_frames == 2
    again = openlrm.load_scene(scene.save(tmp_path / "owl.safetensors"), "CPU")
    assert np.array_equal(np.asarray(again.render(70, size=24)), np.asarray(scene.render(70, size=24)))
    with pytest.raises(UserError, match=r"no form '\.docx'.*\.glb"):
        scene.save(tmp_path / "owl.docx")
    assert not (tmp_path / "owl.docx").exists()


def test_which_model(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "__file__", str(tmp_path / "openlrm" / "api.py"))
    with pytest.raises(UserError, match="demonstration model is not in this installation.*name a model"):
        openlrm.reconstruct(SAMPLES / "knight.png")
    folder = tmp_path / "assets" / "openlrm-tiny-demo"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    assert api.default_model() == folder
    installed = tmp_path / "openlrm" / "demo" / "openlrm-tiny-demo"
    installed.mkdir(parents=True)
    (installed / "config.json").touch()
    assert api.default_model() == installed, "that of the package comes first"
    with pytest.raises(UserError, match="model not found"):
        openlrm.reconstruct(SAMPLES / "knight.png", tmp_path / "none")


def test_bad_pictures_are_named(model, tmp_path):
    (tmp_path / "owl.png").write_text("no picture")
    with pytest.raises(UserError, match=r"not a png.*owl\.png"):
        openlrm.reconstruct(tmp_path / "owl.png", model)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / "room.png")
    with pytest.raises(UserError, match=r"not plain.*room\.png.*transparent"):
        openlrm.reconstruct(tmp_path / "room.png", model, background="plain")
    for array in (np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.int64), np.full((4, 4, 3), 2.0), np.zeros(3)):
        with pytest.raises(UserError, match="no picture|no colours"):
            openlrm.reconstruct(array, model)


def test_input_size_of_a_model(tmp_path, golden_dir):
    """Told by the run's settings, by the released sizes, or by an encoder that is written out; in this order."""
    from openlrm.checkpoint import LocatedModel
    from openlrm.families.reconstructor import known_source_size

    def size(config: dict) -> int | None:
        return known_source_size(LocatedModel("m", config, tmp_path / "m.ckpt", tmp_path / "config.json"))

    assert size({"transformer_dim": 768, "triplane_dim": 48}) == 336
    assert size({"transformer_dim": 64, "triplane_dim": 8}) is None
    assert size({"transformer_dim": 64, "triplane_dim": 8, "encoder": {"img_size": 56}}) == 56
    (tmp_path / "cfg.yaml").write_text("data:\n  source_image_res: 112\n")
    assert size({"transformer_dim": 768, "triplane_dim": 48}) == 112
    (tmp_path / "cfg.yaml").write_text("data: 3\n")
    with pytest.raises(UserError, match="source_image_res"):
        size({})
    assert size({"source_size": 70, "transformer_dim": 768, "triplane_dim": 48}) == 70
    with pytest.raises(UserError, match="source_size=0 is not a positive whole number"):
        size({"source_size": 0})


def test_saved_colours_are_those_of_the_mesh(scene, tmp_path):
    mesh = scene.mesh(24)
    for suffix in ("ply", "obj"):
        written = trimesh.load(scene.save(tmp_path / f"owl.{suffix}", size=24), process=False, force="mesh")
        shown = written.visual.vertex_colors[:, :3] / 255
        assert len(written.vertices) == len(mesh.vertices)
        np.testing.assert_allclose(shown, mesh.colors, atol=0.51 / 255, err_msg=suffix)
    assert np.ptp(mesh.colors, axis=0).max() > 0.05


def test_pictures_and_cameras_have_to_fit_the_model(model):
    picture = SAMPLES / "knight.png"
    with pytest.raises(UserError, match="2 pictures, but .* takes 1 of an object"):
        openlrm.reconstruct([picture, picture], model)
    with pytest.raises(UserError, match="1 pictures, but cameras for 3"):
        openlrm.reconstruct(picture, model, cameras=Camera(np.stack([look_at([0, -2, 0])] * 3)))
    by_camera = openlrm.reconstruct([picture], model, cameras=Camera.canonical(2.0), recentre=True)
    plain = openlrm.reconstruct(picture, model)
    assert np.array_equal(by_camera.planes.asnumpy(), plain.planes.asnumpy())


def test_infer_lrm_prepares_pictures_when_it_is_told_to(scene, tmp_path, golden_dir):
    arguments = ["infer.lrm", f"model_name={golden_dir}", f"image_input={SAMPLES / 'knight.png'}", "export_planes=true"]
    arguments += [f"planes_dump={tmp_path}", "device_target=CPU", "logger=error"]
    made = []
    for options in (["background=auto", "recentre=true"], []):
        assert launch.main([*arguments, *options]) == 0
        made.append(openlrm.load_scene(tmp_path / "knight.safetensors", "CPU").planes.asnumpy())
    expected = scene.planes.asnumpy()
    np.testing.assert_allclose(made[0], expected, atol=1e-4)
    assert np.abs(made[1] - expected).max() > 1e-3
