"""The Blender script: its numpy parts against independent derivations, and real renders of objects of known shape."""

from __future__ import annotations

import importlib.util
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask

from openlrm.cameras import default_source_pose, intrinsics_from_pixels, look_at, project, validate_pose
from openlrm.datasets import read_object
from openlrm.datasets.inspection import inspect_object
from openlrm.geometry.mesh_io import is_former_obj

SCRIPT = Path(__file__).resolve().parents[2] / "openlrm/factory/blender_scripts/blender_script.py"
QUICK = ("--resolution", "64", "--samples", "4", "--views", "4", "--threads", "1")

with_blender = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy (Blender) is not installed")


@pytest.fixture(scope="module")
def script():
    """The module, which needs no Blender until it renders; its neighbours are found through it."""
    spec = importlib.util.spec_from_file_location("blender_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture(scope="module")
def cameras(script):
    return sys.modules["blender_cameras"]


@pytest.fixture(scope="module")
def pictures(script):
    return sys.modules["blender_pictures"]


def render(source: Path, output: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, "--object_path", source, "--output_dir", output, *QUICK, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def boxes(path: Path, size=(1, 2, 3), at=(0, 0, 0), colour=(200, 60, 40, 255)) -> np.ndarray:
    """Write a box as glTF, which is Y up; returns its corners in Blender's axes."""
    box = trimesh.creation.box(size)
    box.apply_translation(at)
    if colour:
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=colour, metallicFactor=0, roughnessFactor=1)
        box.visual = trimesh.visual.TextureVisuals(material=material)
    else:
        box.visual = trimesh.visual.ColorVisuals(box)
    box.export(path)
    return box.vertices[:, [0, 2, 1]] * [1, -1, 1]


def gltf(document: dict) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


@pytest.fixture(scope="module")
def box_scene(tmp_path_factory):
    """A rendered box off the origin, with all maps, and its corners in Blender's axes."""
    folder = tmp_path_factory.mktemp("box")
    corners = boxes(folder / "box.glb", at=(5, -3, 2))
    done = render(folder / "box.glb", folder / "out", "--maps", "depth", "normal", "albedo")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    record = json.loads((folder / "out/box/render.json").read_text())
    placed = corners * record["placement"]["scale"] + record["placement"]["offset"]
    return folder, placed, record


class TestCameras:
    def test_random_ones_are_as_specified(self, cameras):
        poses = cameras.make_poses("random", 200, cameras.generator(0, "cup"), (1.9, 2.6), (-0.75, 1.6))
        positions = poses[:, :, 3]
        distances = np.linalg.norm(positions, axis=-1)
        assert 1.9 <= distances.min() < 1.95 and 2.55 < distances.max() <= 2.6
        assert -0.75 <= positions[:, 2].min() < -0.7 and 1.5 < positions[:, 2].max() <= 1.6
        np.testing.assert_allclose(poses[0], default_source_pose(distances[0]), atol=1e-7)
        np.testing.assert_allclose(poses, look_at(positions), atol=1e-6)
        assert all(validate_pose(pose) is not None for pose in poses)
        assert np.abs(positions[1:, :2].mean(axis=0)).max() < 0.3, "on all sides"

    def test_level_views_come_first_and_change_no_other_draw(self, cameras):
        one, five = (
            cameras.make_poses("random", 12, cameras.generator(0, "cup"), (1.9, 2.6), (-0.75, 1.6), level)[:, :, 3]
            for level in (1, 5)
        )
        np.testing.assert_array_equal(five[:5, 2], 0)
        np.testing.assert_allclose(np.linalg.norm(five, axis=1), np.linalg.norm(one, axis=1))
        np.testing.assert_array_equal(five[5:], one[5:])
        assert len(np.unique(np.arctan2(five[:5, 1], five[:5, 0]).round(6))) == 5

    def test_draws_depend_on_seed_and_name_alone(self, cameras):
        def draw(seed, uid):
            return cameras.make_poses("random", 4, cameras.generator(seed, uid), (1.9, 2.6), (-0.75, 1.6))

        np.testing.assert_array_equal(draw(1, "cup"), draw(1, "cup"))
        assert not np.array_equal(draw(1, "cup"), draw(2, "cup"))
        assert not np.array_equal(draw(1, "cup"), draw(1, "cap"))

    def test_orbit_is_a_circle_from_the_front(self, cameras):
        poses = cameras.make_poses("orbit", 4, None, (2, 2), (0.8, 0.8))
        across = np.sqrt(2**2 - 0.8**2)
        expected = look_at([[0, -across, 0.8], [across, 0, 0.8], [0, across, 0.8], [-across, 0, 0.8]])
        np.testing.assert_allclose(poses, expected, atol=1e-6)

    def test_sphere_is_evenly_spread(self, cameras):
        positions = cameras.make_poses("sphere", 101, None, (2, 2), (-2, 2))[:, :, 3] / 2
        np.testing.assert_allclose(positions[0], [0, -1, 0], atol=1e-9)
        rest = positions[1:]
        assert np.abs(rest.mean(axis=0)).max() < 0.02
        np.testing.assert_allclose(rest.T @ rest / 100, np.eye(3) / 3, atol=0.02)

    def test_straight_down_has_a_horizon(self, cameras):
        pose = cameras.look_at_origin(np.array([[0.0, 0, 2]]))[0]
        np.testing.assert_allclose(pose, look_at([0, 0, 2]), atol=1e-7)

    @pytest.mark.parametrize(
        ("distance", "height", "message"),
        [
            ((2.6, 1.9), (0, 1), "no distance between 2.6 and 1.9"),
            ((1.9, float("nan")), (0, 1), "no distance"),
            ((1.9, 2.6), (1, 0), "no height"),
            ((1.5, 2.6), (0, 1.6), "no camera at a distance of 1.5"),
            ((0, 1), (0, 0), "no camera at a distance of 0"),
        ],
    )
    def test_impossible_ranges(self, cameras, distance, height, message):
        with pytest.raises(ValueError, match=message):
            cameras.make_poses("random", 2, cameras.generator(0, ""), distance, height)

    def test_files(self, cameras, tmp_path):
        poses = look_at([[0, -2, 0], [1, 1, 1]]).astype(np.float64)
        np.save(tmp_path / "a.npy", poses)
        (tmp_path / "a.json").write_text(json.dumps([[*pose.tolist(), [0, 0, 0, 1]] for pose in poses]))
        for name in ("a.npy", "a.json"):
            np.testing.assert_array_equal(cameras.read_poses(tmp_path / name), poses)
        for bad in (poses[0], poses * 2, poses * np.nan, poses[:0], poses[:, :, [1, 0, 2, 3]]):
            np.save(tmp_path / "b.npy", bad)
            with pytest.raises(ValueError, match="the camera file holds"):
                cameras.read_poses(tmp_path / "b.npy")
        (tmp_path / "b.json").write_text("{}")
        for name in ("b.json", "none.npy"):
            with pytest.raises(ValueError, match="cannot read the camera file"):
                cameras.read_poses(tmp_path / name)


class TestPictures:
    @pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 64)])
    def test_png_is_read_back(self, pictures, tmp_path, shape):
        rng = np.random.default_rng(0)
        smooth = np.linspace(0, 255, shape[0] * shape[1] * 4).reshape(*shape, 4).astype(np.uint8)
        for pixels in (smooth, rng.integers(0, 256, (*shape, 4), np.uint8), rng.integers(0, 65536, shape, np.uint16)):
            pictures.write_png(tmp_path / "a.png", pixels)
            with Image.open(tmp_path / "a.png") as image:
                assert image.mode == ("RGBA" if pixels.dtype == np.uint8 else "I;16")
                np.testing.assert_array_equal(np.asarray(image), pixels)
        assert len(list(tmp_path.iterdir())) == 1

    def test_png_filters_earn_their_keep(self, pictures, tmp_path):
        ramp = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)
        pictures.write_png(tmp_path / "a.png", np.stack([ramp, ramp, ramp, ramp], axis=-1))
        assert (tmp_path / "a.png").stat().st_size < 1000

    def test_srgb_at_known_points(self, pictures):
        # Middle grey, and where the two pieces of the curve meet.
        np.testing.assert_allclose(pictures.to_srgb([0.2140411, 0.0031308, -1, 2]), [0.5, 0.04045, 0, 1], atol=1e-5)

    def test_alpha_is_straight_and_gain_is_light(self, pictures):
        combined = np.array([[[0.1075, 0.1075, 0.1075, 0.5], [0.3, 0.3, 0.3, 0.001]]], np.float16)
        np.testing.assert_array_equal(pictures.to_rgba8(combined), [[[128, 128, 128, 128], [0, 0, 0, 0]]])
        assert pictures.to_rgba8(combined, 0.5)[0, 0, 0] == round(pictures.to_srgb(0.1075) * 255)
        assert pictures.mean_luminance(combined) == pytest.approx(0.215, rel=1e-3)
        assert pictures.mean_luminance(combined[:, 1:]) is None

    def test_depth_has_its_unit(self, pictures):
        depth = np.array([[0.5], [2.0], [1e10], [0.0], [7.99]])[None]
        np.testing.assert_array_equal(pictures.to_depth16(depth), [[4096, 16384, 0, 0, 65454]])

    def test_other_files_are_no_exr(self, pictures, tmp_path):
        (tmp_path / "a.exr").write_bytes(b"PNG")
        with pytest.raises(ValueError, match="no OpenEXR file"):
            pictures.read_exr(tmp_path / "a.exr")


class TestExposure:
    @pytest.mark.parametrize(
        ("luminance", "gain", "kind"),
        [(0.2, 1, None), (1.2, 0.5, "exposure"), (0.002, 25 * 0.64, "exposure"), (0.0, 16, "black")],
    )
    def test_gain(self, script, luminance, gain, kind):
        found, warnings = script._expose(luminance)
        assert found == pytest.approx(gain)
        assert list(warnings) == ([kind] if kind else [])


class TestAsset:
    def test_what_the_file_says(self, script, tmp_path):
        extras = {"author": "Ann", "license": "CC-BY-4.0", "title": 3}
        (tmp_path / "a.glb").write_bytes(gltf({"asset": {"version": "2.0", "copyright": "Bo", "extras": extras}}))
        (tmp_path / "a.gltf").write_text(json.dumps({"asset": {"extras": None, "copyright": "Bo"}}))
        (tmp_path / "b.glb").write_bytes(b"glTF\0\0")
        assert script.read_asset(tmp_path / "a.glb") == {"author": "Ann", "license": "CC-BY-4.0", "copyright": "Bo"}
        assert script.read_asset(tmp_path / "a.gltf") == {"copyright": "Bo"}
        assert script.read_asset(tmp_path / "b.glb") == script.read_asset(tmp_path / "none.obj") == {}


@pytest.mark.parametrize(
    ("text", "former"),
    [
        ("v 0.000000 -0.500000 0.000000 1.000000 0.000000 0.501961\nf 1 3 2\n", True),
        ("mtllib cup.mtl\nusemtl material\nv 0 -0.5 0\n", True),
        ("# OpenLRM for MindSpore: Y up, front towards +Z\nmtllib cup.mtl\nusemtl material\nv 0 -0.5 0\n", False),
        ("v 0.00000000 0.00000000 0.00000000 1.00000000 1.00000000 1.00000000\n", False),
        ("", False),
    ],
)
def test_script_and_package_tell_the_same_obj_files_apart(script, tmp_path, text, former):
    (tmp_path / "a.obj").write_text(text)
    in_script = importlib.import_module("blender_obj").is_former_export(tmp_path / "a.obj")
    assert (in_script, is_former_obj(tmp_path / "a.obj")) == (former, former)


def rim(mask: np.ndarray) -> np.ndarray:
    """Distance of the pixel centres from the outline of a mask."""
    return np.maximum(ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask))


@with_blender
class TestBox:
    def test_known_corners_land_on_the_silhouette(self, box_scene):
        folder, corners, record = box_scene
        assert np.abs(corners).max(axis=0).tolist() == pytest.approx([0.8 / 3, 0.8, 0.8 * 2 / 3])
        box = read_object(folder / "out", "box")
        assert len(box) == 4
        for view in range(4):
            mask = box.read_picture(view)[..., 3] > 127
            uv, _ = project(corners, box.read_pose(view), box.intrinsics)
            outline = uv[ConvexHull(uv).vertices] * 64 - 0.5  # column, row of pixel centres
            expected = polygon2mask(mask.shape, outline[:, ::-1])
            # Pixels may differ along the outline alone, and every corner of the outline has one at most a pixel away.
            assert rim(expected)[mask != expected].max(initial=0) <= 1.0
            for column, row in outline:
                rows, columns = np.nonzero(rim(mask) <= 1)
                assert np.hypot(rows - row, columns - column).min() <= 1.0
        assert record["settings"]["views"] == 4 and record["device"]

    def test_layout(self, box_scene):
        folder, _, record = box_scene
        box = folder / "out/box"
        assert sorted(path.name for path in (folder / "out").iterdir()) == ["box"]
        assert {path.name for path in box.iterdir()} == {
            *("rgba", "pose", "intrinsics.npy", "render.json", "depth", "normal", "albedo")
        }
        np.testing.assert_array_equal(np.load(box / "intrinsics.npy"), [[48, 48], [32, 32], [64, 64]])
        np.testing.assert_allclose(
            intrinsics_from_pixels(np.load(box / "intrinsics.npy")), [0.75, 0.75, 0.5, 0.5], atol=1e-7
        )
        assert (record["uid"], record["object"], record["warnings"]) == ("box", "box.glb", {})
        report = inspect_object(folder / "out", "box")
        assert report.usable and report.agreement > 0.95

    def test_maps_show_the_box(self, box_scene, pictures):
        """In the frontal view: its front at y = -0.8, facing -Y, in the material's colour."""
        folder, _, _ = box_scene
        centre = (32, 32)
        depth = np.asarray(Image.open(folder / "out/box/depth/000.png"))
        distance = -np.load(folder / "out/box/pose/000.npy")[1, 3]
        assert depth[centre] / pictures.DEPTH_UNIT == pytest.approx(distance - 0.8, abs=1e-3)
        # The same everywhere on the front: the distance along the axis, not along the ray.
        shown = ndimage.binary_erosion(np.asarray(Image.open(folder / "out/box/rgba/000.png"))[..., 3] == 255)
        assert np.ptp(depth[shown].astype(int)) <= 4
        assert depth[0, 0] == 0
        normal = np.asarray(Image.open(folder / "out/box/normal/000.png"))
        assert normal[centre].tolist() == [128, 0, 128, 255]
        albedo = np.asarray(Image.open(folder / "out/box/albedo/000.png"))
        colour = np.rint(pictures.to_srgb(np.array([200, 60, 40]) / 255) * 255)  # glTF's factors are linear
        np.testing.assert_allclose(albedo[centre][:3], colour, atol=2)

    def test_same_seed_same_bytes(self, box_scene):
        folder, _, _ = box_scene
        done = render(folder / "box.glb", folder / "again", "--maps", "depth", "normal", "albedo", "--threads", "2")
        assert done.returncode == 0
        files = [path.relative_to(folder / "out") for path in (folder / "out").rglob("*") if path.is_file()]
        assert len(files) == 4 * 5 + 2
        assert [
            name for name in files if (folder / "out" / name).read_bytes() != (folder / "again" / name).read_bytes()
        ] == []

    def test_what_is_there_stays(self, box_scene):
        folder, _, _ = box_scene
        before = (folder / "out/box/render.json").stat().st_mtime_ns
        done = render(folder / "box.glb", folder / "out")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: rendered already: ") and done.stderr.count("\n") == 1
        assert (folder / "out/box/render.json").stat().st_mtime_ns == before


@with_blender
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_render_leaves_nothing(tmp_path, number):
    boxes(tmp_path / "box.glb")
    arguments = ["--object_path", tmp_path / "box.glb", "--output_dir", tmp_path / "out", *QUICK]
    command = [sys.executable, SCRIPT, *arguments, "--views", "2000", "--maps", "depth"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (tmp_path / "out/box.part/depth/001.png").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


class TestFallback:
    """What `_render` makes of a device that does not do its work; Blender is played by stand-ins."""

    @pytest.fixture
    def render_on(self, script, monkeypatch, tmp_path):
        def run(device, answers):
            rendered = []

            def render_view(pose, seed):
                rendered.append(state["device"])
                level = answers[state["device"]]
                if level is None:
                    raise RuntimeError("out of memory")
                return {"Combined": np.full((4, 4, 4), level, np.float32)}

            state = {"device": device}
            engine = SimpleNamespace(
                set_up=lambda options: device,
                use_cpu=lambda: state.update(device="CPU") or "CPU",
                render_view=render_view,
            )
            scene = SimpleNamespace(
                clear_scene=lambda: None,
                import_object=lambda path, axis: {},
                fit_into_cube=lambda size: {},
                add_lights=lambda *light: None,
            )
            bpy = SimpleNamespace(app=SimpleNamespace(version_string="5"))
            for name, module in (("bpy", bpy), ("blender_engine", engine), ("blender_scene", scene)):
                monkeypatch.setitem(sys.modules, name, module)
            options = script.parse(["--object_path", "a.glb", "--output_dir", "out", "--views", "2"])
            return script._render(options, script._poses(options, "a"), tmp_path), rendered

        return run

    @pytest.mark.parametrize("gpu", [0.0, None])
    def test_a_gpu_that_fails_is_replaced(self, render_on, gpu):
        record, rendered = render_on("CUDA", {"CUDA": gpu, "CPU": 0.5})
        assert record["device"] == "CPU" and rendered[-2:] == ["CPU", "CPU"]
        assert record["warnings"] == {"exposure": "mean luminance 1 lowered to 0.6"}

    def test_one_that_works_is_kept(self, render_on):
        record, rendered = render_on("CUDA", {"CUDA": 0.5})
        assert record["device"] == "CUDA" and rendered == ["CUDA", "CUDA"]

    def test_errors_of_the_processor_are_errors(self, render_on):
        with pytest.raises(RuntimeError, match="out of memory"):
            render_on("CPU", {"CPU": None})

    def test_nothing_anywhere_is_an_empty_scene(self, render_on):
        with pytest.raises(ValueError, match="nothing to be seen"):
            render_on("CPU", {"CPU": 0.0})


def nothing(path):
    path.write_bytes(
        gltf({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"name": "a"}]})
    )


def corrupt(path):
    boxes(path)
    path.write_bytes(path.read_bytes()[:300])


def beyond(path):
    """Faces of vertices that are not there: the importer itself ends in an exception."""
    boxes(path)
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    document = json.loads(content[20 : 20 + length])
    view = document["bufferViews"][
        document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]["bufferView"]
    ]
    start = 28 + length + view.get("byteOffset", 0)
    path.write_bytes(
        content[:start] + b"\x00\x00\xff\x00" * (view["byteLength"] // 4) + content[start + view["byteLength"] :]
    )


@with_blender
@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (beyond, ["Blender cannot read the file", "a.glb (IndexError: "]),
        (corrupt, ["Blender cannot read the file", "a.glb"]),
        (nothing, ["an empty scene", "no faces"]),
        (lambda path: None, ["no such file", "a.glb"]),
    ],
)
def test_unusable_objects_are_one_line(tmp_path, make, parts):
    make(tmp_path / "a.glb")
    done = render(tmp_path / "a.glb", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [part for part in parts if part not in done.stderr] == []
    assert not list(tmp_path.glob("out/*"))


@with_blender
def test_huge_far_and_without_material(tmp_path):
    boxes(tmp_path / "huge.glb", size=(1e6, 2e6, 3e6), at=(3e6, 0, 0), colour=None)
    done = render(tmp_path / "huge.glb", tmp_path / "out", "--light", "area")
    assert done.returncode == 0
    assert "warning: 1 of 1 meshes have no material: rendered grey" in done.stderr
    record = json.loads((tmp_path / "out/huge/render.json").read_text())
    np.testing.assert_allclose(record["placement"]["bounds"][1], [0.8 / 3, 0.8, 0.8 * 2 / 3], rtol=1e-5)
    assert inspect_object(tmp_path / "out", "huge").usable


@with_blender
def test_vertex_colours_and_an_up_axis(tmp_path):
    box = trimesh.creation.box((1, 2, 3))
    box.visual.vertex_colors = np.tile(np.uint8([0, 0, 255, 255]), (8, 1))
    box.export(tmp_path / "a.ply")
    for axis, tall in (("Z", 2), ("Y", 1)):
        done = render(tmp_path / "a.ply", tmp_path / "out", "--uid", axis, "--up_axis", axis, "--views", "1")
        assert (done.returncode, done.stderr) == (0, "")
        record = json.loads((tmp_path / "out" / axis / "render.json").read_text())
        extents = np.subtract(*record["placement"]["bounds"][::-1])
        assert extents[2] == pytest.approx(1.6 / 3 * (tall + 1), rel=1e-5)
        picture = np.asarray(Image.open(tmp_path / "out" / axis / "rgba/000.png"))
        red, green, blue = picture[picture[..., 3] > 250][:, :3].mean(axis=0)
        assert blue > 2 * red and blue > 2 * green


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--views", "0"], "--views"),
        (["--resolution", "x"], "--resolution"),
        (["--camera", "file"], "--camera file and --camera_file belong together"),
        (["--camera_file", "a.npy"], "--camera file and --camera_file belong together"),
        (["--seed", "-1"], "--seed"),
        (["--light", "moon"], "--light"),
    ],
)
def test_bad_options(script, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        script.parse(["--object_path", "a.glb", "--output_dir", "out", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_blenders_own_arguments_are_passed_over(tmp_path):
    arguments = ["-b", "-P", "x.py", "--", "--object_path", "none.glb", "--output_dir", str(tmp_path)]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: no such file: none.glb\n")
