"""The rasteriser in all its forms against golden numbers, a loop over all pixels and Gaussians, finite differences."""

import logging

import mindspore as ms
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mindspore import Tensor

from openlrm.errors import UserError
from openlrm.ops import setup_device
from openlrm.ops.host import splatting as host
from openlrm.ops.host.splatting_project import XX, XY, YY, X, Y
from openlrm.ops.splatting import list_gaussians, splat
from openlrm.ops.splatting_tiles import TileSplat

LOG2_E = np.log2(np.e)
# Camera-to-world at the origin, looking along -Z.
HERE = np.eye(4, dtype=np.float32)
LENS = np.array([1.1, 1.1, 0.5, 0.5], np.float32)


@pytest.fixture(scope="module")
def golden(request):
    with np.load(request.config.rootpath / "tests" / "golden" / "geolrm" / "splatting.npz") as arrays:
        return dict(arrays)


def scene(golden, number: int) -> dict:
    head = f"scene{number}_"
    found = {name.removeprefix(head): array for name, array in golden.items() if name.startswith(head)}
    k = found["K"]
    found["intrinsics"] = np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], np.float32)
    found["size"] = tuple(map(int, found["size"]))
    return found


def gaussians_of(parts: dict) -> tuple[np.ndarray, ...]:
    return tuple(parts[name] for name in host.NAMES)


def random_gaussians(count: int, seed: int = 0, size: float = 0.15) -> tuple[np.ndarray, ...]:
    """In front of `HERE`, one to three units away."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-1, 1, (count, 3)) * [1, 1, 1] - [0, 0, 2]
    quaternions = rng.normal(size=(count, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    scales = size * rng.uniform(0.02, 1, (count, 3))
    parts = means, scales, quaternions, rng.uniform(0, 1, (count, 1)), rng.uniform(0, 1, (count, 3))
    return tuple(np.ascontiguousarray(part, np.float32) for part in parts)


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


class Dense:
    """Every pixel and every Gaussian in float64, as the specification words it; decisions can be held."""

    def __init__(self, c2w, intrinsics, size, background):
        self.c2w, self.size, self.background = np.asarray(c2w, float), size, np.asarray(background, float)
        height, width = size
        self.focal = np.asarray(intrinsics[:2], float) * [width, height]
        self.middle = np.asarray(intrinsics[2:], float) * [width, height]
        self.decisions = None

    def projected(self, means, scales, rotations):
        turn = np.diag([1.0, -1, -1]) @ self.c2w[:3, :3].T
        at = (means.astype(float) - self.c2w[:3, 3]) @ turn.T
        z = at[:, 2]
        height, width = self.size
        margin = 0.15 * np.array([width, height])
        low, high = (
            (-self.middle - margin) / self.focal,
            (np.array([width, height]) - self.middle + margin) / self.focal,
        )
        slopes = at[:, :2] / z[:, None]
        held = self.decisions[3] if self.decisions else ((slopes > low) & (slopes < high), np.clip(slopes, low, high))
        slope = np.where(held[0], slopes, held[1])
        jacobian = np.zeros((len(means), 2, 3))
        jacobian[:, 0, 0], jacobian[:, 1, 1] = self.focal[0] / z, self.focal[1] / z
        jacobian[:, :, 2] = -self.focal * slope / z[:, None]
        w, x, y, q = rotations.astype(float).T
        matrix = np.stack(
            [
                np.stack([1 - 2 * (y * y + q * q), 2 * (x * y - w * q), 2 * (x * q + w * y)], -1),
                np.stack([2 * (x * y + w * q), 1 - 2 * (x * x + q * q), 2 * (y * q - w * x)], -1),
                np.stack([2 * (x * q - w * y), 2 * (y * q + w * x), 1 - 2 * (x * x + y * y)], -1),
            ],
            1,
        )
        axes = jacobian @ turn @ matrix * scales[:, None].astype(float)
        covariance = axes @ axes.transpose(0, 2, 1) + 0.3 * np.eye(2)
        return self.focal * slopes + self.middle, np.linalg.inv(covariance), z, held

    def __call__(self, means, scales, rotations, opacities, colors):
        height, width = self.size
        with np.errstate(all="ignore"):
            centres, conics, z, held = self.projected(means, scales, rotations)
        pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
        order = np.argsort(z.astype(np.float32), kind="stable") if not self.decisions else self.decisions[2]
        through, live = np.ones(len(pixels)), np.ones(len(pixels), bool)
        seen = np.zeros((len(pixels), 5))
        added, cut = {}, {}
        for i in order:
            if not z[i] > 0.2:
                continue
            d = pixels - centres[i]
            full = opacities[i, 0] * np.exp(-0.5 * np.einsum("pi,ij,pj->p", d, conics[i], d))
            if self.decisions:
                take, bent = self.decisions[0][i], self.decisions[1][i]
            else:
                touches, bent = full >= 1 / 255, full >= 0.99
                ends = touches & live & (through * (1 - np.minimum(full, 0.99)) < 1e-4)
                live &= ~ends
                take = touches & live
            added[i], cut[i] = take, bent
            alpha = np.where(take, np.where(bent, 0.99, full), 0)
            seen += (through * alpha)[:, None] * np.append(colors[i].astype(float), [z[i], 1])
            through = through * (1 - alpha)
        self.last_decisions = added, cut, order, held
        picture = seen.T.reshape(5, height, width)
        rgb = picture[:3] + through.reshape(height, width) * self.background[:, None, None]
        return rgb, picture[3:4], picture[4:]


@pytest.mark.parametrize("number", range(4))
def test_golden_scenes_on_the_host(golden, number):
    parts = scene(golden, number)
    rgb, depth, alpha = host.render(
        *gaussians_of(parts), parts["c2w"], parts["intrinsics"], parts["size"], parts["background"]
    )
    near(rgb, parts["rgb"], 1e-5)
    near(depth, parts["depth"], 2e-5)
    near(alpha, parts["alpha"], 1e-5)


@pytest.mark.parametrize("number", range(4))
def test_golden_centres_and_conics(golden, number):
    parts = scene(golden, number)
    camera = host.camera_numbers(parts["c2w"], parts["intrinsics"], *parts["size"])
    seen = host.look(host.as_arrays(*gaussians_of(parts)), camera, *parts["size"])
    assert len(seen.order) > 4
    r, conic = seen.records.astype(float), parts["conic"][seen.order]
    found = np.stack([r[:, XX], r[:, XY] / 2, r[:, XY] / 2, r[:, YY]], -1).reshape(-1, 2, 2) * (-2 / LOG2_E)
    near(r[:, [X, Y]], parts["mean2d"][seen.order], 1e-5)
    near(found, conic, 1e-5)


def value_and_gradients(form, arrays, c2w, intrinsics, size, background, weights, length=None):
    """(rgb, depth, alpha) and the gradients of the sum of them times `weights`, in one of three forms."""
    setup_device("CPU", 0 if form == "graph" else 1)
    try:
        tensors = [Tensor(array) for array in arrays]
        c2w, intrinsics, background = Tensor(c2w), Tensor(intrinsics), Tensor(background)
        weights = [Tensor(weight) for weight in weights]
        if form != "host":
            lists = list_gaussians(*tensors, c2w, intrinsics, size, length)
            cell = TileSplat(*size, lists.indices.shape[1])

        def draw(*inputs):
            if form == "host":
                seen = splat(*inputs, c2w, intrinsics, size, background)
            else:
                seen = cell(*inputs, lists.camera, lists.indices, background)
            return sum((part * weight).sum() for part, weight in zip(seen, weights)), seen  # noqa: B905 - graph mode

        (_, seen), gradients = ms.value_and_grad(draw, (0, 1, 2, 3, 4), has_aux=True)(*tensors)
        return [part.asnumpy() for part in seen], [gradient.asnumpy() for gradient in gradients]
    finally:
        setup_device("CPU", 1)


@pytest.mark.parametrize("form", ["host", "operations", "graph"])
@pytest.mark.parametrize("number", range(4))
def test_golden_gradients(golden, form, number):
    parts = scene(golden, number)
    weights = parts["drgb"], parts["ddepth"], parts["dalpha"]
    camera = parts["c2w"], parts["intrinsics"], parts["size"], parts["background"]
    seen, gradients = value_and_gradients(form, gaussians_of(parts), *camera, weights)
    for name, part, tolerance in zip(("rgb", "depth", "alpha"), seen, (1e-5, 2e-5, 1e-5), strict=True):
        near(part, parts[name], tolerance)
    for name, gradient in zip(host.NAMES, gradients, strict=True):
        near(gradient, parts[f"grad_{name}"], 1e-4)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33), (5, 70)])
def test_equals_a_loop_over_all_pixels(size):
    arrays = random_gaussians(60, seed=size[1])
    lens = np.array([0.9, 1.3, 0.4, 0.6], np.float32)
    found = host.render(*arrays, HERE, lens, size, (0.2, 0.5, 0.9))
    for part, wanted in zip(found, Dense(HERE, lens, size, (0.2, 0.5, 0.9))(*arrays), strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-5)


def test_gradients_equal_finite_differences():
    size, lens, rng = (19, 23), np.array([0.9, 1.3, 0.4, 0.6], np.float32), np.random.default_rng(1)
    arrays = random_gaussians(12, seed=5, size=0.3)
    # One whose centre lies outside the picture by more than the limit of the projection's slope, and one opaque.
    arrays[0][0], arrays[1][0], arrays[3][0] = (2.2, 0.1, -2), 0.5, 0.9
    arrays[0][1], arrays[1][1], arrays[3][1] = (0.1, 0, -1.5), 0.5, 1
    background = np.array([0.2, 0.5, 0.9], np.float32)
    weights = [rng.normal(size=(channels, *size)).astype(np.float32) for channels in (3, 1, 1)]
    _, gradients = value_and_gradients("host", arrays, HERE, lens, size, background, weights)
    dense = Dense(HERE, lens, size, background)
    dense(*arrays)
    dense.decisions = dense.last_decisions
    assert not dense.decisions[3][0][0].all(), "no slope is at its limit"
    assert any(cut.any() for cut in dense.decisions[1].values()), "no Gaussian is cut off at 0.99"

    def loss(parts):
        return sum((part * weight).sum() for part, weight in zip(dense(*parts), weights, strict=True))

    for which, gradient in enumerate(gradients):
        wanted = np.empty(gradient.shape)
        for place in np.ndindex(gradient.shape):
            ends = []
            for step in (1e-5, -1e-5):
                parts = [array.astype(float) for array in arrays]
                parts[which][place] += step
                ends.append(loss(parts))
            wanted[place] = (ends[0] - ends[1]) / 2e-5
        near(gradient, wanted, 1e-4)


def test_the_same_bits_whatever_thread_works(monkeypatch):
    size, arrays = (70, 90), random_gaussians(300, seed=2)
    dpicture = np.random.default_rng(0).normal(size=(4, *size)).astype(np.float32)

    def all_numbers():
        camera = host.camera_numbers(HERE, LENS, *size)
        seen = host.look(arrays, camera, *size)
        drawn = host.draw(seen, *size)
        gradients = host.draw_gradient(arrays, camera, seen, drawn.through, drawn.last, dpicture, dpicture[0])
        return drawn.picture, drawn.through, *gradients

    usual = all_numbers()
    monkeypatch.setattr(host, "spread", lambda work, tasks: [work(task) for task in reversed(range(tasks))])
    monkeypatch.setattr(host, "spread_ranges", lambda work, length, step: work(0, length))
    for found, wanted in zip(all_numbers(), usual, strict=True):
        assert np.array_equal(found, wanted)


def test_where_things_appear():
    """Before the camera in the middle; right of it on the right; above it above."""
    for offset, (row, column) in (((0, 0, 0), (16, 16)), ((0.4, 0, 0), (16, 25)), ((0, 0.4, 0), (7, 16))):
        means = np.array([offset], np.float32) - np.float32([0, 0, 1.5])
        arrays = means, np.full((1, 3), 0.05), np.array([[1.0, 0, 0, 0]]), np.ones((1, 1)), np.zeros((1, 3))
        _, _, alpha = host.render(*arrays, HERE, LENS, (33, 33))
        at = np.unravel_index(alpha[0].argmax(), (33, 33))
        assert abs(at[0] - row) <= 1 and abs(at[1] - column) <= 1


def test_depth_is_the_weighted_sum():
    arrays = np.array([[0, 0, -1.5]]), np.full((1, 3), 0.2), np.array([[1.0, 0, 0, 0]]), np.full((1, 1), 0.5)
    _, depth, alpha = host.render(*arrays, np.ones((1, 3)), HERE, LENS, (8, 8))
    np.testing.assert_allclose(depth, 1.5 * alpha, rtol=1e-5)


def test_equal_depths_keep_their_order():
    """Two opaque Gaussians at one place: the first one is seen."""
    means, scales = np.repeat([[0, 0, -1.5]], 2, 0), np.full((2, 3), 0.2)
    colors = np.array([[1.0, 0, 0], [0, 1, 0]])
    for order in ([0, 1], [1, 0]):
        rgb, _, _ = host.render(
            means, scales, np.eye(1, 4).repeat(2, 0), np.ones((2, 1)), colors[order], HERE, LENS, (9, 9), (0, 0, 0)
        )
        assert rgb[order[0], 4, 4] > 0.98


@pytest.mark.parametrize("form", ["host", "operations"])
def test_padding_changes_nothing(form):
    """Gaussians without opacity, behind the camera or off the picture are as if they were not there."""
    size, arrays, background = (20, 20), random_gaussians(20), np.ones(3, np.float32)
    more = random_gaussians(6, seed=3)
    more[3][:2], more[0][2:4, 2], more[0][4:] = 0, 1, (50, 0, -2)
    weights = [np.ones((channels, *size), np.float32) for channels in (3, 1, 1)]
    seen, gradients = value_and_gradients(form, arrays, HERE, LENS, size, background, weights)
    both = [np.concatenate(pair) for pair in zip(arrays, more, strict=True)]
    padded, padded_gradients = value_and_gradients(form, both, HERE, LENS, size, background, weights)
    for part, wanted in zip(padded, seen, strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-6)
    for gradient, wanted in zip(padded_gradients, gradients, strict=True):
        near(gradient[:20], wanted, 1e-6)
        assert not gradient[20:].any()


def test_nothing_to_see():
    empty = [np.zeros((0, width), np.float32) for width in host.WIDTHS]
    rgb, depth, alpha = host.render(*empty, HERE, LENS, (5, 6), (0.25, 0.5, 1))
    assert (rgb == np.array([0.25, 0.5, 1]).reshape(3, 1, 1)).all() and not depth.any() and not alpha.any()
    gradients = host.draw_gradient(
        empty, host.camera_numbers(HERE, LENS, 5, 6), host.look(empty, host.camera_numbers(HERE, LENS, 5, 6), 5, 6),
        np.ones((5, 6), np.float32), np.zeros((5, 6), np.float32), np.ones((4, 5, 6), np.float32),
        np.ones((5, 6), np.float32),
    )  # fmt: skip
    assert [gradient.shape for gradient in gradients] == [array.shape for array in empty]


def test_what_is_dropped_is_counted_and_told(caplog):
    size, arrays = (16, 16), random_gaussians(100, size=0.6)
    inputs = [Tensor(array) for array in (*arrays, HERE, LENS)]
    complete = list_gaussians(*inputs, size)
    reaching = int((complete.indices.asnumpy() < 100).sum())
    assert complete.dropped == 0 and complete.indices.shape == (1, 128) and not caplog.records
    with caplog.at_level(logging.WARNING):
        short = list_gaussians(*inputs, size, length=10)
    assert short.dropped == reaching - 10
    assert f"{short.dropped} pairs" in caplog.text
    nearest = np.argsort(-arrays[0][:, 2], kind="stable")
    kept = short.indices.asnumpy()[0]
    assert set(kept) <= set(nearest[: 100 - short.dropped]), "the nearest are kept"


@pytest.mark.parametrize("form", ["operations", "graph"])
def test_tiles_are_composited_some_at_a_time(monkeypatch, form):
    """Nine tiles, two at a time: the last block has a place to spare."""
    from openlrm.ops import splatting_tiles

    size, arrays, background = (40, 40), random_gaussians(50), np.ones(3, np.float32)
    weights = [np.ones((channels, *size), np.float32) for channels in (3, 1, 1)]
    at_once = value_and_gradients("operations", arrays, HERE, LENS, size, background, weights)
    monkeypatch.setattr(splatting_tiles, "_BLOCK_NUMBERS", 2 * 64 * 256)
    in_parts = value_and_gradients(form, arrays, HERE, LENS, size, background, weights)
    for found, wanted in zip(in_parts[0] + in_parts[1], at_once[0] + at_once[1], strict=True):
        near(found, wanted, 1e-6)


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_named(pynative, which, bad):
    arrays = random_gaussians(9)
    arrays[which][7, 0] = bad
    with pytest.raises(UserError, match=f"{host.NAMES[which]} of Gaussian 7 .* 1 of 9 are not finite"):
        splat(*map(Tensor, arrays), Tensor(HERE), Tensor(LENS), (8, 8), Tensor(np.ones(3, np.float32)))


def test_cameras_that_cannot_be(pynative):
    arrays = random_gaussians(2)
    flat, unknown, lens = HERE.copy(), HERE.copy(), LENS.copy()
    flat[:3, 0], unknown[0, 3], lens[0] = 0, np.nan, -1
    for c2w, intrinsics, what in (
        (flat, LENS, "cannot be inverted"),
        (unknown, LENS, "not finite"),
        (HERE, lens, "not positive"),
    ):
        with pytest.raises(UserError, match=what):
            host.render(*arrays, c2w, intrinsics, (8, 8))
    with pytest.raises(UserError, match=r"scales of shape \(2, 2\), not \(2, 3\)"):
        host.render(arrays[0], arrays[1][:, :2], *arrays[2:], HERE, LENS, (8, 8))


SCALES = st.sampled_from([1e-6, 1e-3, 0.02, 0.3, 3.0])
GAUSSIAN = st.tuples(
    st.tuples(*[st.floats(-2, 2, width=32)] * 2, st.sampled_from([-3.0, -1.0, -0.21, -0.2, -0.19, 0.0, 1e-6, 2.0])),
    st.tuples(SCALES, SCALES, SCALES),
    st.tuples(*[st.floats(-1, 1, width=32)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
    st.sampled_from([0.0, 1 / 255, 0.01, 0.5, 0.99, 1.0]),
    st.tuples(*[st.floats(0, 1, width=32)] * 3),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(GAUSSIAN, max_size=6), st.integers(1, 20), st.integers(1, 20))
@example([((0.0, 0.0, -1.0), (3.0, 1e-6, 1e-6), (1.0, 0.0, 0.0, 0.0), 1.0, (1.0, 0.0, 0.0))], 20, 20)
@example([((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0, 0.0), 1.0, (1.0, 0.0, 0.0))], 3, 3)
@example([((1e18, 1e18, -1e18), (1e18,) * 3, (1.0, 0.0, 0.0, 0.0), 1.0, (1.0, 0.0, 0.0))] * 2, 3, 3)
def test_any_scene_gives_finite_pictures_and_gradients(gaussians, height, width):
    """Needles, disks, points, Gaussians without opacity or opaque, behind the camera and on it."""
    columns = [[gaussian[i] for gaussian in gaussians] for i in range(5)]
    arrays = host.as_arrays(*(np.reshape(c, (len(gaussians), w)) for c, w in zip(columns, host.WIDTHS, strict=True)))
    arrays[2][:] /= np.linalg.norm(arrays[2], axis=1, keepdims=True)
    rgb, depth, alpha = host.render(*arrays, HERE, LENS, (height, width))
    assert rgb.min() >= 0 and rgb.max() <= 1 and alpha.min() >= 0 and alpha.max() <= 1 and depth.min() >= 0
    camera = host.camera_numbers(HERE, LENS, height, width)
    seen = host.look(arrays, camera, height, width)
    drawn, ones = host.draw(seen, height, width), np.ones((4, height, width), np.float32)
    gradients = host.draw_gradient(arrays, camera, seen, drawn.through, drawn.last, ones, ones[0])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.isfinite(rgb).all() and np.isfinite(depth).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.2, 1.0]), st.integers(1, 20), st.integers(1, 40))
def test_random_scenes_equal_the_loop(seed, scale, height, width):
    arrays = random_gaussians(8, seed, scale)
    found = host.render(*arrays, HERE, LENS, (height, width))
    wanted = Dense(HERE, LENS, (height, width), (1, 1, 1))(*arrays)
    # A pair that lies on a decision may fall on either side: 1/255 of a colour, or 0.01 of T where a pixel ends.
    for part, other in zip(found, wanted, strict=True):
        assert (np.abs(part - other) > 1e-5).mean() < 0.01
        np.testing.assert_allclose(part, other, atol=0.02)


def test_golden_views_of_golden_gaussians(shared_dir):
    """What GeoLRM's miniature sees of two objects, three views each."""
    with np.load(shared_dir / "golden" / "geolrm" / "golden.npz") as golden:
        for item, view in np.ndindex(2, 3):
            arrays = [golden[f"gaussians_{name}"][item] for name in host.NAMES]
            k = golden["target_K"][item, view]
            lens = np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
            pose, background = golden["target_c2w"][item, view], golden["target_background"]
            for name, part in zip(
                ("rgb", "depth", "alpha"), host.render(*arrays, pose, lens, (32, 32), background), strict=True
            ):
                near(part, golden[f"render_{name}"][item, view], 1e-5)
