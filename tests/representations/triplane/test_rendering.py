"""The renderer's parts against slow numpy twins written from the specification, and its symmetries."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.cameras import Camera, look_at, pixel_rays, turntable
from openlrm.representations.triplane import TriplaneSynthesizer
from openlrm.representations.triplane import synthesizer as synthesizer_module
from openlrm.representations.triplane.compositing import EMPTY_RAW_DENSITY, composite, finish, interval_weights
from openlrm.representations.triplane.rays import cube_span, generate_rays
from openlrm.representations.triplane.sampling import importance_depths, midpoint_noise, midpoint_u, stratified_depths


def tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [Tensor(np.asarray(array, np.float32)) for array in arrays]


def close(actual: Tensor, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=0, atol=tolerance)


# Compositing (specification, section 6, step 4).


def march(rgb: np.ndarray, raw: np.ndarray, depths: np.ndarray, background: float) -> tuple:
    """One ray, interval by interval: weights, colour, depth, opacity."""
    weights, through = [], 1.0
    colour, depth = np.zeros(3), 0.0
    for k in range(len(depths) - 1):
        density = np.logaddexp(0, (float(raw[k]) + raw[k + 1]) / 2 - 1)
        alpha = 1 - np.exp(-density * (depths[k + 1] - depths[k]))
        weights.append(alpha * through)
        through *= 1 - alpha + 1e-10
        colour += weights[-1] * (rgb[k] + rgb[k + 1]) / 2
        depth += weights[-1] * (depths[k] + depths[k + 1]) / 2
    opacity = sum(weights)
    return weights, colour + background * (1 - opacity), depth / opacity if opacity else 100, opacity


@pytest.fixture
def samples() -> tuple[np.ndarray, ...]:
    """Rays of rising depths; of ray 1 every sample is outside the cube, of ray 2 some are."""
    rng = np.random.default_rng(0)
    raw, rgb = rng.normal(0, 4, size=(12, 9)), rng.uniform(size=(12, 9, 3))
    raw[1], raw[2, [0, 3, 8]] = EMPTY_RAW_DENSITY, EMPTY_RAW_DENSITY
    depths = 1 + np.cumsum(rng.uniform(0.01, 0.4, size=(12, 9)), axis=1)
    return tuple(array.astype(np.float32) for array in (raw, rgb, depths, rng.choice([0, 0.5, 1], size=(12, 1))))


def test_compositing(mode, samples):
    raw, rgb, depths, background = samples
    weights = interval_weights(*tensors(raw, depths))
    mixed = composite(Tensor(rgb), weights, *tensors(depths))
    colour, depth = finish(mixed, *tensors(background, 0, 100))
    parts = (colour, depth, mixed[:, 4:])
    expected = [march(*ray[:3], ray[3][0]) for ray in zip(rgb, raw, depths, background, strict=True)]
    for actual, column in zip((weights, *parts), zip(*expected, strict=True), strict=True):
        close(actual, np.stack(column).reshape(actual.shape))
    assert depth.asnumpy()[1] == 100, "no weight: the farthest"
    assert (weights.asnumpy()[2, [0, 2, 3, 7]] == 0).all(), "intervals that touch an empty sample"


def test_a_wall_hides_what_is_behind(mode):
    raw = np.full((1, 6), -50.0)
    raw[0, 2:] = 1e4
    depths, rgb = np.linspace(1, 2, 6)[None], np.eye(6, 3)[None]
    weights = interval_weights(*tensors(raw, depths))
    close(weights, [[0, 1, 0, 0, 0]])
    mixed = composite(*tensors(rgb), weights, *tensors(depths))
    colour, depth = finish(mixed, *tensors([[1.0]], 1, 2))
    close(colour, [[0, 0.5, 0.5]])
    close(depth, [[1.3]])
    close(mixed[:, 4:], [[1]])


def test_homogeneous_medium(mode):
    """Opacity 1 - exp(-density * length), whatever the steps."""
    rng = np.random.default_rng(1)
    depths = np.sort(rng.uniform(0, 2, size=(5, 40)), axis=1)
    weights = interval_weights(*tensors(np.full((5, 40), 1.3), depths)).asnumpy()
    density = np.log1p(np.exp(0.3))
    np.testing.assert_allclose(weights.sum(1), 1 - np.exp(-density * (depths[:, -1] - depths[:, 0])), rtol=1e-5)


# Depths of samples (steps 2 and 5).


def test_stratified_depths(mode):
    near, far = np.array([1.0, 0.5]), np.array([3.0, 4.5])
    close(stratified_depths(*tensors(near, far, np.zeros((2, 5)))), np.linspace(near, far, 5, axis=1))
    noise = np.random.default_rng(2).uniform(size=(2, 5))
    step = (far - near) / 4
    expected = np.linspace(near, far, 5, axis=1) + noise * step[:, None]
    close(stratified_depths(*tensors(near, far, noise)), expected)


def draw(depths: np.ndarray, weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    """One ray, step by step as the specification words it."""
    n = len(depths)
    padded = [-np.inf, *weights, -np.inf]
    widest = [max(padded[k], padded[k + 1]) for k in range(n)]
    smooth = [(widest[k] + widest[k + 1]) / 2 + 0.01 for k in range(n - 1)]
    inner = [value + 1e-5 for value in smooth[1:-1]]
    cdf = [0.0]
    for value in inner:
        cdf.append(cdf[-1] + value / sum(inner))
    midpoints = [(depths[k] + depths[k + 1]) / 2 for k in range(n - 2)]
    drawn = []
    for value in u:
        above = next((k for k, entry in enumerate(cdf) if entry > value), len(cdf))
        below, above = max(above - 1, 0), min(above, len(cdf) - 1)
        step = cdf[above] - cdf[below]
        part = (value - cdf[below]) / (step if step >= 1e-5 else 1)
        drawn.append(midpoints[below] + part * (midpoints[above] - midpoints[below]))
    return np.array(drawn)


def test_importance_depths(mode):
    """Random weights, one spike, none at all; u at both ends as well."""
    rng = np.random.default_rng(3)
    depths = np.sort(rng.uniform(1, 3, size=(9, 12)), axis=1).astype(np.float32)
    weights = rng.uniform(size=(9, 11)).astype(np.float32) ** 4
    weights[7], weights[8] = 0, np.eye(11)[6]
    u = rng.uniform(size=(9, 20)).astype(np.float32)
    u[:, :3] = 0, 0.5, 1 - 2**-24
    expected = [draw(*ray) for ray in zip(*(a.astype(float) for a in (depths, weights, u)), strict=True)]
    close(importance_depths(*tensors(depths, weights, u)), np.stack(expected), 2e-5)


def test_equal_weights_give_equally_spread_depths(mode):
    """With steps of equal length the CDF is a line: depths run evenly from the first midpoint to the last but one."""
    depths, u = np.linspace(1, 2, 11)[None], np.linspace(0, 0.999, 50)[None]
    drawn = importance_depths(*tensors(depths, np.full((1, 10), 0.1), u))
    close(drawn, 1.05 + u * (1.85 - 1.05))


def test_depths_gather_where_the_weight_is(mode):
    """The share of the draws around a spike is the spike's share of the smoothed weights, shifted by half a step."""
    depths = np.linspace(0, 32, 33)[None]
    weights = np.zeros((1, 32))
    weights[0, 20] = 1
    u = ((np.arange(4000) + 0.5) / 4000)[None]
    drawn = importance_depths(*tensors(depths, weights, u)).asnumpy()[0]
    # Smoothed: 0.5, 1, 0.5 at intervals 19..21 and 0.01 at each of the inner 30. Entry k ends at midpoint k - 0.5,
    # so that the share of interval k lies between depth k - 0.5 and k + 0.5.
    total = 2 + 30 * 0.01001
    for interval, share in ((18, 0.01001), (19, 0.51001), (20, 1.01001), (21, 0.51001), (22, 0.01001)):
        inside = (drawn > interval - 0.5) & (drawn < interval + 0.5)
        assert inside.mean() == pytest.approx(share / total, abs=1e-3)


# Rays and the cube (step 1).


def test_rays_are_those_of_the_cameras(mode):
    rng = np.random.default_rng(4)
    c2w = np.stack([look_at(position, [0.1, 0, 0.2]) for position in rng.normal(size=(3, 3)) * 3])
    intrinsics = np.array([[0.75, 0.75, 0.5, 0.5], [1.1, 0.9, 0.4, 0.6], [0.5, 0.6, 0.52, 0.45]])
    anchors, resolutions = np.array([[0, 0], [3, 40], [17, 5]]), np.array([64, 96, 33])
    origins, directions = generate_rays(
        *tensors(Camera(c2w, intrinsics).render_record(), anchors, resolutions[:, None]), region=7
    )
    expected = pixel_rays(c2w, intrinsics, resolutions, anchors, region=7)
    close(directions, expected[1], 1e-6)
    assert np.array_equal(np.broadcast_to(origins.asnumpy()[:, None], expected[0].shape), expected[0])


def test_span_of_known_rays(mode):
    """Through the middle, from inside, along an edge's direction, past the cube, and away from it."""
    origins = [[0, -2, 0], [0, 0, 0], [0.5, 3, -0.5], [2, -2, 0], [0, -2, 0]]
    directions = np.array([[0, 1, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0.6, 0.8]])[:, None]
    near, far = (x.asnumpy()[:, 0] for x in cube_span(*tensors(origins, directions)))
    hits = [(1, 3), (-1, 1), (2, 4)]
    np.testing.assert_allclose(np.stack([near, far], 1)[:3], hits, rtol=1e-6)
    # Misses span the sphere around the cube, each as seen from its own origin.
    distances, radius = np.array([8**0.5, 2]), 3**0.5
    wanted = np.stack([distances - radius, distances + radius], 1)
    np.testing.assert_allclose(np.stack([near, far], 1)[3:], wanted, rtol=1e-6)


def test_span_of_random_rays(mode):
    rng = np.random.default_rng(5)
    origins, directions = rng.uniform(-3, 3, size=(40, 3)), rng.normal(size=(40, 30, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    near, far = (x.asnumpy().astype(float)[..., None] for x in cube_span(*tensors(origins, directions)))
    origins = origins[:, None]
    along = np.linspace(-12, 12, 4001)[:, None, None, None]
    # A corner that is cut by less than a step of 0.006 may be missed by this search, not by the slabs.
    found = (np.abs(origins + along * directions).max(-1) <= 1).any(0)
    ends = [np.abs(origins + t * directions).max(-1) for t in (near, far)]
    middle = np.abs(origins + (near + far) / 2 * directions).max(-1)
    hit = (np.abs(ends[0] - 1) < 1e-4) & (np.abs(ends[1] - 1) < 1e-4) & (middle <= 1)
    assert 100 < found.sum() < 1100
    assert not (found & ~hit).any()
    assert (hit & ~found).sum() <= 2
    assert (far > near).all()


def test_all_rays_miss(mode):
    near, far = cube_span(*tensors([[0, -9, 0]], [[[0, 0, 1], [1, 0, 0]]]))
    assert np.isfinite(near.asnumpy()).all() and (far.asnumpy() > near.asnumpy()).all()


# The whole renderer.


def camera_of(c2w: np.ndarray, size: int, background: float = 1.0, anchor: tuple = (0, 0)) -> list[Tensor]:
    """Arguments of the synthesizer for M views (M, 3, 4) of one object."""
    views = len(c2w)
    shape = (1, views, 1)
    return tensors(
        Camera(c2w).render_record()[None],
        np.broadcast_to(anchor, (1, views, 2)),
        np.full(shape, size),
        np.full(shape, background),
    )


@pytest.fixture
def field() -> tuple[np.ndarray, TriplaneSynthesizer]:
    """Random planes (1, 3, 4, 8, 8) and a decoder that makes something half transparent of them."""
    rng = np.random.default_rng(6)
    synthesizer = TriplaneSynthesizer(4, 32)
    for layer in (0, 2, 4, 6):
        weight = synthesizer.decoder.net[layer].weight
        weight.set_data(Tensor(rng.normal(0, 1.4 / np.sqrt(weight.shape[1]), size=weight.shape).astype(np.float32)))
    synthesizer.decoder.net[6].bias.set_data(Tensor(np.array([1.5, 0.3, 0, -0.3], np.float32)))
    synthesizer.set_train(False)
    return rng.normal(size=(1, 3, 4, 8, 8)).astype(np.float32), synthesizer


KEYS = ("images_rgb", "images_depth", "images_weight")
POSES = turntable(5)[[0, 2]]


def render(synthesizer, planes: np.ndarray, c2w: np.ndarray, size: int = 16, region: int | None = None, **how) -> list:
    out = synthesizer(Tensor(planes), *camera_of(c2w, size, **how), region or size)
    return [out[key].asnumpy() for key in KEYS]


def test_a_rotated_camera_sees_the_rotated_field(mode, field):
    """A quarter turn about Z of both the object and the camera changes no picture.

    The turned field at (x, y, z) is the first one at (y, -x, z). So the (x, y) plane is turned, and the planes of
    (x, z) and (z, y) change places, mirrored where the sign says so, and with them their parts of the decoder.
    """
    planes, synthesizer = field
    expected = render(synthesizer, planes, POSES)
    xy, xz, zy = planes[0]
    turned = np.stack([xy[:, ::-1].transpose(0, 2, 1), zy[:, ::-1].transpose(0, 2, 1), xz.transpose(0, 2, 1)])[None]
    first = synthesizer.decoder.net[0].weight
    blocks = np.split(first.asnumpy(), 3, axis=1)
    first.set_data(Tensor(np.concatenate([blocks[0], blocks[2], blocks[1]], axis=1)))
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    actual = render(synthesizer, np.ascontiguousarray(turned), quarter @ POSES)
    assert expected[0].std() > 0.02 and np.abs(expected[0][:, 0] - expected[0][:, 1]).max() > 0.05
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    unturned = render(synthesizer, np.ascontiguousarray(turned), POSES)
    assert np.abs(unturned[0] - expected[0]).max() > 0.05, "the picture is no symmetric one"


def test_a_region_is_a_part_of_the_picture(pynative, field):
    planes, synthesizer = field
    whole = render(synthesizer, planes, POSES, 20)
    part = render(synthesizer, planes, POSES, 20, 6, anchor=(9, 3))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[..., 9:15, 3:9], b, rtol=0, atol=1e-5)


def test_objects_do_not_mix(pynative, field):
    planes, synthesizer = field
    other = planes[:, ::-1] * 0.5
    alone = [render(synthesizer, p, POSES, 6) for p in (planes, other)]
    both = synthesizer(
        Tensor(np.concatenate([planes, other])),
        *(Tensor(np.repeat(x.asnumpy(), 2, axis=0)) for x in camera_of(POSES, 6)),
        6,
    )
    for position, key in enumerate(KEYS):
        np.testing.assert_allclose(both[key].asnumpy(), np.concatenate([a[position] for a in alone]), atol=1e-5)


def test_background_shows_through(mode, field):
    """By exactly the opacity that lacks; rays that miss show nothing else."""
    planes, synthesizer = field
    far_away = turntable(2, radius=8)
    black, _, opacity = render(synthesizer, planes, far_away, background=0.0)
    white, depth, _ = render(synthesizer, planes, far_away, background=1.0)
    np.testing.assert_allclose(white - black, np.broadcast_to(1 - opacity, white.shape), atol=2e-6)
    assert (opacity[..., 0, :] == 0).all() and (black[..., 0, :] == 0).all()
    assert opacity.max() > 0.5
    assert np.isfinite(depth).all() and depth.min() >= 8 - 3**0.5 and depth.max() < 8 + 2


def test_chunks_change_nothing(pynative, field, monkeypatch):
    planes, synthesizer = field
    monkeypatch.setattr(synthesizer_module, "marches_on_host", lambda: False)
    whole = render(synthesizer, planes, POSES, 8)
    monkeypatch.setattr(synthesizer_module, "_CHUNK", 100)
    for a, b in zip(render(synthesizer, planes, POSES, 8), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_grid_is_points(mode, field):
    """Index order x, y, z; both corners of the box included."""
    planes, synthesizer = field
    low, high = np.array([-0.5, 0, -1]), np.array([0.5, 0.25, 1])
    grid = synthesizer.forward_grid(Tensor(planes), 3, *tensors(np.stack([low, high])[None]))
    index = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(1, 27, 3)
    points = synthesizer.forward_points(Tensor(planes), *tensors(low + (high - low) * index / 2))
    for key, width in (("rgb", 3), ("sigma", 1)):
        assert grid[key].shape == (1, 3, 3, 3, width)
        close(grid[key], points[key].asnumpy().reshape(1, 3, 3, 3, width))


# Random and fixed samples.


def test_inference_repeats_itself_and_training_does_not(mode, field):
    planes, synthesizer = field
    first, again = (render(synthesizer, planes, POSES, 8)[0] for _ in range(2))
    assert np.array_equal(first, again)
    synthesizer.set_train(True)
    noisy, noisier = (render(synthesizer, planes, POSES, 8)[0] for _ in range(2))
    assert np.abs(noisy - noisier).max() > 1e-3
    assert np.abs(noisy - first).mean() < 0.05, "other samples of the same field"


def test_both_passes_draw(pynative, field):
    """With the samples of one fixed, the other's still change."""
    planes, synthesizer = field
    synthesizer.set_train(True)
    rays = len(POSES) * 8 * 8
    for fixed in ((midpoint_noise(rays, 16), None), (None, midpoint_u(rays, 16))):
        draws = [synthesizer(Tensor(planes), *camera_of(POSES, 8), 8, *fixed)["images_rgb"] for _ in range(2)]
        assert np.abs(draws[0].asnumpy() - draws[1].asnumpy()).max() > 1e-4


def test_draws_can_be_given(pynative, field):
    """With the same draws training renders what inference does."""
    planes, synthesizer = field
    expected = render(synthesizer, planes, POSES, 8)
    synthesizer.set_train(True)
    rays = len(POSES) * 8 * 8
    out = synthesizer(Tensor(planes), *camera_of(POSES, 8), 8, midpoint_noise(rays, 16), midpoint_u(rays, 16))
    for key, theirs in zip(KEYS, expected, strict=True):
        np.testing.assert_allclose(out[key].asnumpy(), theirs, rtol=0, atol=1e-5)


# Gradients.


class Loss(nn.Cell):
    """A number that depends on every colour and every opacity."""

    def __init__(self, synthesizer):
        super().__init__()
        self.synthesizer = synthesizer

    def construct(self, planes, weights, cameras, anchors, resolutions, backgrounds):
        out = self.synthesizer(planes, cameras, anchors, resolutions, backgrounds, 6)
        return (out["images_rgb"] * weights).sum() + out["images_weight"].sum() * 0.3


def test_gradients_are_slopes(pynative, field, monkeypatch):
    """Central differences along a random direction of the planes and of every parameter.

    The second pass places its samples by the field, without a gradient: here they are placed evenly instead, or the
    differences would see them move. A step of 1 % keeps clear of float32 rounding (1e-6 of the loss over a change of
    1e-2), and crosses few of the ReLUs' kinks: 2 % of the slope, or of what a direction may change at most.
    """

    def evenly(depths, weights, u):
        return depths[:, :1] + u * (depths[:, -1:] - depths[:, :1])

    monkeypatch.setattr(synthesizer_module, "importance_depths", evenly)
    monkeypatch.setattr(synthesizer_module, "marches_on_host", lambda: False)
    planes, synthesizer = field
    rng = np.random.default_rng(7)
    loss = Loss(synthesizer)
    fixed = [*tensors(rng.normal(size=(1, 2, 3, 6, 6))), *camera_of(POSES, 6)]
    variable = ms.Parameter(Tensor(planes), name="planes")
    parameters = [variable, *synthesizer.trainable_params()]

    def value() -> float:
        return float(loss(variable, *fixed).asnumpy())

    of_planes, gradients = ms.grad(loss, 0, synthesizer.trainable_params())(variable, *fixed)
    gradients = [g.asnumpy().astype(float) for g in (of_planes, *gradients)]
    assert len(gradients) == 9
    for parameter, gradient in zip(parameters, gradients, strict=True):
        start = parameter.asnumpy().copy()
        # Signs as the gradient's in two places of three, so that the slope is not lost in rounding.
        direction = np.where(rng.uniform(size=start.shape) < 2 / 3, np.sign(gradient), rng.choice([-1, 1], start.shape))
        step = 0.01 * max(np.abs(start).mean(), 0.05)
        ends = []
        for sign in (1, -1):
            parameter.set_data(Tensor((start + sign * step * direction).astype(np.float32)))
            ends.append(value())
        parameter.set_data(Tensor(start))
        slope, expected = (ends[0] - ends[1]) / (2 * step), (gradient * direction).sum()
        assert abs(expected) > 0.1 * np.abs(gradient).sum() > 0, parameter.name
        assert slope == pytest.approx(expected, rel=0.02), parameter.name


# Execution modes.


def test_modes_agree_on_a_whole_model(mini, golden):
    from openlrm.ops import setup_device

    image, camera = Tensor(golden["image"]), Tensor(golden["source_camera"])
    views = [Tensor(golden[f"render_{key}"]) for key in ("cameras", "anchors", "resolutions", "bg_colors")]
    results = {}
    for number in (1, 0):
        setup_device("CPU", number)
        out = mini(image, camera, *views, 12)
        results[number] = {key: out[key].asnumpy() for key in ("planes", *KEYS)}
    setup_device("CPU", 1)
    for key, expected in results[1].items():
        # The compiled loops round differently, and importance sampling makes 2e-5 of a colour of that.
        allowed = 1e-5 if key == "planes" else 2e-5
        assert np.abs(results[0][key] - expected).max() <= allowed * max(1, np.abs(expected).max()), key


def test_graphs_are_compiled_once(mini, golden):
    """Another picture, camera and part of the view of the same sizes run what is compiled; another size does not."""
    from openlrm.ops import setup_device

    setup_device("CPU", 0)
    try:
        compiled = []
        for turn in range(3):
            image = np.roll(golden["image"][:1], turn, axis=-1)
            camera = golden["source_camera"][:1] + np.float32(0.01 * turn)
            planes = mini.forward_planes(*tensors(image, camera))
            view = camera_of(turntable(5)[turn : turn + 1], 20 + turn, anchor=(turn, 2 * turn))
            mini.synthesizer(planes, *view, 8)
            compiled.append(len(mini.compile_cache) + len(mini.synthesizer.compile_cache))
        assert compiled == [2, 2, 2]
        mini.synthesizer(planes, *view, 4)
        assert len(mini.synthesizer.compile_cache) == 2
    finally:
        setup_device("CPU", 1)
