"""The host renderer against the MindSpore renderer, against golden numbers, and by its properties."""

import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from safetensors.numpy import load_file

from openlrm.cameras import Camera, look_at, turntable
from openlrm.errors import UserError
from openlrm.representations.triplane import Triplane, TriplaneSynthesizer, tiles
from openlrm.representations.triplane import representation as representation_module
from openlrm.representations.triplane import synthesizer as synthesizer_module
from openlrm.representations.triplane.host import HostRenderer

REPO = Path(__file__).resolve().parents[3]
PREFIX = "synthesizer.decoder."

CAMERAS = dict(
    zip(
        ("turntable", "from above", "inside", "half misses", "backwards", "at a face"),
        Camera(
            np.stack(
                [
                    turntable(8, radius=2.0)[3],
                    look_at([0.3, -0.4, 2.5]),
                    look_at([0.2, 0.1, -0.3], [1, 0.5, 0.2]),
                    look_at([0, -3, 0.4], [1.5, 0, 0]),
                    look_at([0, -3, 0], [0, -6, 0.1]),
                    look_at([0.99, 0.5, 0.5]),
                ]
            )
        ),
        strict=True,
    )
)
AWAY = Camera(look_at([9, 0, 0], [9, 9, 0])[None], [[4.0, 4.0, 0.5, 0.5]])[0]


@pytest.fixture(autouse=True)
def operations(monkeypatch):
    """Have the synthesizer use MindSpore's operations, in PyNative too: what the loops are held against."""
    monkeypatch.setattr(synthesizer_module, "marches_on_host", lambda: False)


@pytest.fixture(scope="module")
def decoder(golden_dir) -> dict[str, np.ndarray]:
    tensors = load_file(golden_dir / "model.safetensors")
    return {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}


@pytest.fixture
def golden_field(golden, decoder):
    return golden["planes"][0], decoder, 24


def random_field(rng, channels=32, side=64, samples=96):
    """A dense field of the released size; weights like trained ones, so that densities reach 30."""
    sizes = [(64, 3 * channels), (64, 64), (64, 64), (4, 64)]
    decoder = {}
    for number, (rows, columns) in enumerate(sizes):
        decoder[f"net.{2 * number}.weight"] = rng.normal(0, 1.5 / columns**0.5, (rows, columns)).astype(np.float32)
        decoder[f"net.{2 * number}.bias"] = rng.normal(0, 0.1, rows).astype(np.float32)
    return rng.standard_normal((3, channels, side, side)).astype(np.float32), decoder, samples


def synthesizer_of(planes, decoder, samples) -> TriplaneSynthesizer:
    synthesizer = TriplaneSynthesizer(planes.shape[1], samples)
    for name, parameter in synthesizer.decoder.parameters_and_names():
        parameter.set_data(Tensor(decoder[name]))
    return synthesizer.set_train(False)


def device_frame(field, camera, size, background):
    """Colour, depth and mask of a frame rendered in one piece by the MindSpore renderer."""
    one = [np.zeros((1, 1, 2)), np.full((1, 1, 1), size), np.full((1, 1, 1), background)]
    view = [field[0][None], camera.render_record()[None, None], *one]
    inputs = [Tensor(np.asarray(array, np.float32)) for array in view]
    out = synthesizer_of(*field)(*inputs, size)
    rgb, depth, mask = (out[f"images_{name}"].asnumpy()[0, 0] for name in ("rgb", "depth", "weight"))
    return rgb.transpose(1, 2, 0), depth[0], mask[0]


def assert_frames_agree(actual, expected):
    """Rounding moves fine samples: against float64 either renderer is off by up to 7e-5 where a field is steep."""
    for found, wanted in zip(actual[::2], expected[::2], strict=True):
        error = np.abs(found - wanted)
        assert np.quantile(error, 0.99) <= 2e-5
        assert error.max() <= 2e-4
    # A depth can be near zero (a camera inside the cube), hence the absolute part.
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CAMERAS)
def test_frame_is_that_of_the_synthesizer(pynative, golden_field, name):
    expected = device_frame(golden_field, CAMERAS[name], 40, 0.5)
    assert expected[2].max() > 0.5, "nothing in the picture"
    assert_frames_agree(HostRenderer(*golden_field).render(CAMERAS[name], 40, 0.5), expected)


@pytest.mark.parametrize("name", ["turntable", "inside", "half misses"])
def test_frame_of_a_dense_field_of_the_released_size(pynative, name):
    field = random_field(np.random.default_rng(0))
    expected = device_frame(field, CAMERAS[name], 32, 1.0)
    assert_frames_agree(HostRenderer(*field).render(CAMERAS[name], 32, 1.0), expected)


def test_rays_that_miss_get_background_and_the_farthest_sample(pynative, golden_field):
    rgb, depth, mask = HostRenderer(*golden_field).render(CAMERAS["half misses"], 40, 0.25)
    missed = mask == 0
    assert 0.2 < missed.mean() < 0.8
    assert (rgb[missed] == 0.25).all()
    assert (depth[missed] == depth.max()).all() and depth[~missed].max() < depth.max()


def test_frame_without_the_cube(pynative, golden_field):
    rgb, depth, mask = HostRenderer(*golden_field).render(AWAY, 8, 0.75)
    assert (rgb == 0.75).all() and (mask == 0).all()
    np.testing.assert_allclose(depth, device_frame(golden_field, AWAY, 8, 0.75)[1], rtol=1e-6)


def test_points_are_the_golden_ones(golden, decoder):
    for planes, points, rgb, sigma in zip(
        golden["planes"], golden["points"], golden["points_rgb"], golden["points_sigma"], strict=True
    ):
        renderer = HostRenderer(planes, decoder, 24)
        found_sigma, found_rgb = renderer.evaluate(points)
        np.testing.assert_allclose(found_sigma, sigma[:, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found_rgb, rgb, atol=2e-5)
        np.testing.assert_array_equal(renderer.density(points), found_sigma)


def test_points_do_not_depend_on_their_neighbours(golden_field):
    """Blocks of 64 points, tasks of 16,384: remainders and boundaries change nothing."""
    renderer = HostRenderer(*golden_field)
    points = np.random.default_rng(1).uniform(-1.1, 1.1, (16384 + 131, 3)).astype(np.float32)
    sigma, rgb = renderer.evaluate(points)
    assert sigma.shape == (len(points),) and rgb.shape == (len(points), 3)
    for part in (np.s_[:0], np.s_[:1], np.s_[37:102], np.s_[16380:]):
        some_sigma, some_rgb = renderer.evaluate(points[part])
        np.testing.assert_array_equal(some_sigma, sigma[part])
        np.testing.assert_array_equal(some_rgb, rgb[part])


def test_features_are_zero_outside_the_cube(golden_field):
    planes, decoder, samples = golden_field
    far = [[3, 3, 3], [-1e30, 2, 9], [np.inf, -np.inf, 5], [1.1, -1.1, 1.1], [np.nan, np.nan, np.nan]]
    nothing = HostRenderer(np.zeros_like(planes), decoder, samples).evaluate(np.zeros((1, 3), np.float32))
    sigma, rgb = HostRenderer(planes, decoder, samples).evaluate(np.array(far, np.float32))
    np.testing.assert_allclose(sigma, np.repeat(nothing[0], len(far)), rtol=1e-6)
    np.testing.assert_allclose(rgb, np.repeat(nothing[1], len(far), axis=0), rtol=1e-6)


def test_empty_field_is_background(golden_field):
    planes, decoder, samples = golden_field
    bias = np.array([-40, 0, 0, 0], np.float32)
    renderer = HostRenderer(planes * 0, decoder | {"net.6.bias": bias, "net.6.weight": np.zeros((4, 64))}, samples)
    rgb, depth, mask = renderer.render(CAMERAS["turntable"], 16, 0.3)
    assert (rgb == np.float32(0.3)).all() and (mask == 0).all() and (depth > 1).all()
    # The corners of the cube are 3^0.5 behind its centre; a ray's last sample is half a step beyond its end.
    corner = 2 + 3**0.5
    np.testing.assert_allclose(depth.max(), corner + 3**0.5 / (samples // 2 - 1), rtol=1e-6)


def test_damaged_planes_show(golden_field):
    planes = golden_field[0].copy()
    planes[0, 0, 8, 8] = np.nan
    renderer = HostRenderer(planes, *golden_field[1:])
    assert np.isnan(renderer.density(np.full((1, 3), 0.06, np.float32))).all()
    assert np.isnan(renderer.render(CAMERAS["turntable"], 16, 1.0)[0]).any()


def test_turned_camera_sees_the_turned_field(golden_field):
    """A quarter turn about z, (x, y) -> (-y, x): plane xz takes what zy held and the other way round."""
    planes, decoder, samples = golden_field
    xy, xz, zy = planes
    turned = np.stack([xy[:, ::-1].transpose(0, 2, 1), zy[:, ::-1].transpose(0, 2, 1), xz.transpose(0, 2, 1)])
    blocks = np.split(decoder["net.0.weight"], 3, axis=1)
    swapped = decoder | {"net.0.weight": np.concatenate([blocks[0], blocks[2], blocks[1]], axis=1)}
    camera = CAMERAS["turntable"]
    expected = HostRenderer(planes, decoder, samples).render(camera, 40, 1.0)
    camera = Camera(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32) @ camera.c2w, camera.intrinsics)
    assert_frames_agree(HostRenderer(turned, swapped, samples).render(camera, 40, 1.0), expected)


def test_planes_must_fit_the_decoder(golden_field):
    planes, decoder, samples = golden_field
    for wrong in (planes[:, :4], planes[:, :, :5]):
        with pytest.raises(ValueError, match="do not fit"):
            HostRenderer(wrong, decoder, samples)


def test_scene_renders_the_same_on_host_and_device(monkeypatch, pynative, golden_field):
    """On the device four tiles that overlap, and three views, two in a call."""
    monkeypatch.setattr(tiles, "TILE", 16)
    planes, synthesizer = Tensor(golden_field[0][None]), synthesizer_of(*golden_field)
    views = Camera(turntable(3, radius=2.0))
    host, device = (list(Triplane(planes, synthesizer, on).views(views, 26, 0.5, batch=2)) for on in ("host", "device"))
    assert len(host) == len(device) == 3
    for found, wanted in zip(host, device, strict=True):
        assert_frames_agree(found, wanted)
    assert not np.allclose(host[0].rgb, host[1].rgb, atol=0.05)


@pytest.mark.parametrize("on", ["host", "device"])
def test_a_pixel_does_not_depend_on_what_else_is_rendered(pynative, golden_field, on):
    """A view beside another whose rays go elsewhere, and a region of it: colour, depth and opacity stay."""
    planes, synthesizer = Tensor(golden_field[0][None]), synthesizer_of(*golden_field)
    scene = Triplane(planes, synthesizer, on)
    both = Camera.stack([CAMERAS["half misses"], CAMERAS["from above"]])
    alone, beside = next(scene.views(both[:1], 20)), next(scene.views(both, 20, batch=2))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    corner = [both[:1].render_record()[None], np.full((1, 1, 2), 3), np.full((1, 1, 1), 20), np.ones((1, 1, 1))]
    region = synthesizer(planes, *(Tensor(np.asarray(array, np.float32)) for array in corner), 5)
    depth = region["images_depth"].asnumpy()[0, 0, 0]
    np.testing.assert_allclose(depth, alone.depth[3:8, 3:8], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 70])
def test_device_evaluates_any_number_of_points(monkeypatch, pynative, golden_field, count):
    """Calls have one shape: 32 points here, the last one filled up."""
    monkeypatch.setattr(tiles, "POINTS", 32)
    points = np.random.default_rng(2).uniform(-1, 1, (count, 3)).astype(np.float32)
    renderer = tiles.TileRenderer(Tensor(golden_field[0][None]), synthesizer_of(*golden_field))
    sigma, rgb = renderer.evaluate(points)
    expected_sigma, expected_rgb = HostRenderer(*golden_field).evaluate(points)
    np.testing.assert_allclose(sigma, expected_sigma, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rgb, expected_rgb, atol=2e-5)


def test_scene_meshes_the_same_on_host_and_device(pynative, golden_field):
    planes, synthesizer = Tensor(golden_field[0][None]), synthesizer_of(*golden_field)
    host, device = (Triplane(planes, synthesizer, on).mesh(24, 3.0) for on in ("host", "device"))
    np.testing.assert_array_equal(host.faces, device.faces)
    np.testing.assert_allclose(host.vertices, device.vertices, atol=1e-4)
    # Vertices that differ by rounding have colours that differ by as much as the field is steep.
    np.testing.assert_allclose(host.colors, device.colors, atol=1e-3)


def both_ways(monkeypatch, ask) -> list[dict[str, np.ndarray]]:
    """What a synthesizer answers by its operations and by its loops."""
    answers = []
    for loops in (False, True):
        monkeypatch.setattr(synthesizer_module, "marches_on_host", lambda loops=loops: loops)
        answers.append({name: value.asnumpy() for name, value in ask().items()})
    return answers


@pytest.mark.parametrize("name", ["turntable", "inside", "half misses"])
def test_synthesizer_of_inference_by_loops(monkeypatch, pynative, golden_field, name):
    """Two objects; a region; the bound of the docstring."""
    synthesizer = synthesizer_of(*golden_field)
    planes = Tensor(np.stack([golden_field[0], golden_field[0][:, ::-1]]))
    record = np.tile(CAMERAS[name].render_record(), (2, 1, 1))
    view = [record, np.full((2, 1, 2), 5), np.full((2, 1, 1), 40), np.full((2, 1, 1), 0.5)]
    inputs = [Tensor(np.asarray(array, np.float32)) for array in view]
    wanted, found = both_ways(monkeypatch, lambda: synthesizer(planes, *inputs, 24))
    assert wanted["images_weight"].max() > 0.5, "nothing in the picture"
    for part in range(2):
        assert_frames_agree(*([answer[key][part] for key in answer] for answer in (found, wanted)))
    for key in ("images_rgb", "images_weight"):
        assert np.quantile(np.abs(found[key] - wanted[key]), 0.99) <= 2e-5


def test_points_and_grid_of_inference_by_loops(monkeypatch, pynative, golden_field):
    synthesizer = synthesizer_of(*golden_field)
    planes = Tensor(np.stack([golden_field[0], golden_field[0][:, ::-1]]))
    points = Tensor(np.random.default_rng(3).uniform(-1.2, 1.2, (2, 501, 3)).astype(np.float32))
    box = Tensor(np.array([[[-1, -0.5, 0], [1, 0.5, 1]]] * 2, np.float32))
    asked = (lambda: synthesizer.forward_points(planes, points), lambda: synthesizer.forward_grid(planes, 7, box))
    for ask in asked:
        wanted, found = both_ways(monkeypatch, ask)
        for key in ("sigma", "rgb"):
            assert found[key].shape == wanted[key].shape
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-4, atol=2e-5)
    assert not np.allclose(found["sigma"][0], found["sigma"][1])


def test_points_of_inference_have_no_gradient_and_say_so(monkeypatch, pynative, golden_field):
    monkeypatch.setattr(synthesizer_module, "marches_on_host", lambda: True)
    synthesizer = synthesizer_of(*golden_field)
    points = Tensor(np.zeros((1, 4, 3), np.float32))
    density = ms.grad(lambda planes: synthesizer.forward_points(planes, points)["sigma"].sum())
    with pytest.raises(UserError, match="no gradient.*set_train"):
        density(Tensor(golden_field[0][None]))
    synthesizer.set_train(True)
    assert np.abs(density(Tensor(golden_field[0][None])).asnumpy()).max() > 0


@pytest.mark.parametrize("prefers_host", [True, False])
def test_scene_chooses_by_device(monkeypatch, pynative, golden_field, prefers_host):
    monkeypatch.setattr(representation_module, "renders_on_host", lambda: prefers_host)
    used = []
    for name in ("HostRenderer", "TileRenderer"):
        renderer = getattr(representation_module, name)
        monkeypatch.setattr(representation_module, name, lambda *args, r=renderer, n=name: used.append(n) or r(*args))
    scene = Triplane(Tensor(golden_field[0][None]), synthesizer_of(*golden_field))
    next(scene.views(CAMERAS["turntable"][None], 8))
    assert used == ["HostRenderer" if prefers_host else "TileRenderer"]


def test_scene_names_its_renderers(golden_field):
    with pytest.raises(UserError, match="renderer=gpu is not known.*auto, host, device"):
        Triplane(Tensor(golden_field[0][None]), synthesizer_of(*golden_field), "gpu")


@pytest.mark.parametrize("name", ["net.0.bias", "net.2.weight", "net.4.bias", "net.6.weight", "net.6.bias"])
def test_a_decoder_of_other_layers(golden_field, name):
    planes, decoder, samples = golden_field
    with pytest.raises(ValueError, match=f"{name} has shape"):
        HostRenderer(planes, decoder | {name: decoder[name][:3]}, samples)


def test_numba_is_imported_only_when_used():
    script = (
        "import sys\n"
        "from openlrm.representations.triplane.host import HostRenderer\n"
        "assert 'numba' not in sys.modules\n"
        "from openlrm.representations.triplane.host import render\n"
        "assert 'numba' in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
