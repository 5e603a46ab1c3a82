"""The frequency loss: golden values and gradients, identities, finite differences, regions."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm.errors import UserError
from openlrm.losses import FrequencyLoss, pixel_loss
from openlrm.losses.frequency import check_whole_pictures, frequency_weights

CASES = ["1x3x8x8", "2x3x9x7", "1x3x16x12", "1x1x5x5", "2x1x33x20"]
UNITS = ["nyquist", "cycles_per_pixel"]


def tensors(golden, case):
    return [Tensor(golden[f"loss/{case}/{name}"].astype(np.float32)) for name in ("prediction", "target")]


def assert_close(found, expected, tolerance=1e-5):
    found = found.asnumpy()
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("unit", UNITS)
def test_golden(case, unit, mode, freq_golden):
    prediction, target = tensors(freq_golden, case)
    loss = FrequencyLoss(5.0, 0.3, unit)
    key = f"loss/{case}/{unit}"
    value, gradient = ms.value_and_grad(loss, 0)(prediction, target)
    closed_value, closed = loss.value_and_gradient(prediction, target)
    for found in (value, closed_value):
        assert_close(found, freq_golden[f"{key}_0.3_5.0"])
    for found in (gradient, closed):
        assert_close(found, freq_golden[f"{key}_0.3_5.0_gradient"])
    assert_close(FrequencyLoss(2.0, 0.15, unit)(prediction, target), freq_golden[f"{key}_0.15_2.0"])


@pytest.mark.parametrize("case", CASES)
def test_weight_on_power_and_plain(case, mode, freq_golden):
    prediction, target = tensors(freq_golden, case)
    power = FrequencyLoss(5.0, 0.3, "cycles_per_pixel", "power")(prediction, target)
    assert_close(power, freq_golden[f"loss/{case}/cycles_per_pixel_0.3_5.0_power"])
    plain = FrequencyLoss(1.0)(prediction, target)
    assert_close(plain, freq_golden[f"loss/{case}/mse"])
    assert_close(plain, pixel_loss(prediction, target).asnumpy())


@pytest.mark.parametrize("shape", [(1, 2, 6, 6), (2, 1, 5, 7)])
@pytest.mark.parametrize("normalise", [False, True])
def test_gradient_against_finite_differences(shape, normalise, mode):
    """Differences of the formula in float64, with numpy's transform."""
    random = np.random.default_rng(0)
    prediction, target, direction = random.standard_normal((3, *shape))
    loss = FrequencyLoss(3.0, 0.5, normalise=normalise)
    gradient = ms.grad(loss, 0)(Tensor(prediction, ms.float32), Tensor(target, ms.float32)).asnumpy()
    weights = frequency_weights(*shape[-2:], 3.0, 0.5, normalise=normalise)

    def exact(step):
        difference = np.fft.fft2(prediction + step * direction - target)
        return np.mean(np.abs(np.fft.ifft2(weights * difference)) ** 2)

    expected = (exact(1e-4) - exact(-1e-4)) / 2e-4
    assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5)


def test_shift_and_normalisation(pynative):
    random = np.random.default_rng(0)
    prediction, target = random.random((2, 1, 3, 64, 64)).astype(np.float32)
    loss = FrequencyLoss()
    before = loss(Tensor(prediction), Tensor(target)).asnumpy()
    moved = [Tensor(np.roll(x, (5, -3), (2, 3))) for x in (prediction, target)]
    np.testing.assert_allclose(loss(*moved).asnumpy(), before, rtol=1e-5)
    # White differences cost what they do in a plain mean, up to the chance of one draw.
    noise = Tensor(random.standard_normal((8, 3, 64, 64)).astype(np.float32))
    normalised = FrequencyLoss(normalise=True)(noise, ms.ops.zeros_like(noise))
    assert float(normalised.asnumpy()) == pytest.approx(1, abs=0.03)


def test_low_frequencies_count_w_squared_times(pynative):
    columns = np.arange(16) / 16
    for cycles, factor in ((1, 25), (2, 25), (3, 1), (8, 1)):
        wave = Tensor(np.tile(np.cos(2 * np.pi * cycles * columns), (1, 1, 16, 1)).astype(np.float32))
        found = FrequencyLoss()(wave, ms.ops.zeros_like(wave)) / (wave * wave).mean()
        assert float(found.asnumpy()) == pytest.approx(factor, rel=1e-5)


def test_share_of_low_bins_at_288(freq_golden):
    shares = [(frequency_weights(288, 288, unit=unit) > 1).mean() for unit in reversed(UNITS)]
    np.testing.assert_allclose(shares, freq_golden["loss/low_bins_288"], rtol=1e-12)


class Squares(nn.Cell):
    """<one rendered square, gradient of its pixels>."""

    def __init__(self, synthesizer, side):
        super().__init__(auto_prefix=False)
        self.synthesizer, self.side = synthesizer, side

    def construct(self, planes, camera, anchor, resolution, background, noise, u, gradient):
        views = self.synthesizer(planes, camera, anchor, resolution, background, self.side, noise, u)
        return (views["images_rgb"] * gradient).sum()


def test_square_by_square_is_the_whole(pynative, mini, golden):
    """Deferred back-propagation: whole pictures without a gradient, its closed form, back through squares of 6 of 12.

    The golden regions are taken as whole pictures.
    """
    keys = ("render_cameras", "render_anchors", "render_resolutions", "render_bg_colors")
    camera, anchor, resolution, background = (Tensor(golden[key]) for key in keys)
    draws = [golden[key] for key in ("stratified_noise", "importance_u")]
    planes, target, loss = Tensor(golden["planes"]), Tensor(golden["target"]), FrequencyLoss(unit="cycles_per_pixel")
    mini.set_train(True)

    def direct(planes):
        noise, u = map(Tensor, draws)
        views = mini.synthesizer(planes, camera, anchor, resolution, background, 12, noise, u)
        return loss(views["images_rgb"], target), views["images_rgb"]

    (value, pictures), expected = ms.value_and_grad(direct, 0, has_aux=True)(planes)
    again, of_pixels = loss.value_and_gradient(pictures, target)
    np.testing.assert_allclose(again.asnumpy(), value.asnumpy(), rtol=1e-6)

    square, found = ms.grad(Squares(mini.synthesizer, 6), 0), 0
    of_rays = [draw.reshape(*golden["render_cameras"].shape[:2], 12, 12, -1) for draw in draws]
    for row in (0, 6):
        for column in (0, 6):
            at = (slice(None), slice(None), slice(row, row + 6), slice(column, column + 6))
            noise, u = (Tensor(np.ascontiguousarray(rays[at].reshape(-1, rays.shape[-1]))) for rays in of_rays)
            corner = anchor + Tensor([row, column], ms.float32)
            pixels = of_pixels[:, :, :, row : row + 6, column : column + 6]
            found = found + square(planes, camera, corner, resolution, background, noise, u, pixels).asnumpy()
    assert np.abs(found - expected.asnumpy()).max() <= 1e-5 * np.abs(expected.asnumpy()).max()
    assert np.abs(expected.asnumpy()).max() > 0


def test_crops_are_refused():
    check_whole_pictures(96, 96)
    with pytest.raises(UserError, match=r"regions of 64 pixels are cut out of pictures of up to 192, and the spectrum"):
        check_whole_pictures(64, 192)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "hertz"}, "cutoff_unit=hertz"),
        ({"weight_on": "phase"}, "weight_on=phase"),
        ({"weight": -1}, "freq_weight=-1"),
        ({"weight": float("nan")}, "freq_weight=nan"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        FrequencyLoss(**options)


@pytest.mark.parametrize(("cutoff", "unit"), [(0, "nyquist"), (1.5, "nyquist"), (0.8, "cycles_per_pixel")])
def test_a_cutoff_that_cuts_nothing(cutoff, unit, pynative):
    pictures = Tensor(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(UserError, match="does not cut the frequencies of 8 x 8 maps"):
        FrequencyLoss(cutoff=cutoff, unit=unit)(pictures, pictures)
