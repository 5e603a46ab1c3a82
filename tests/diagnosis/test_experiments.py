"""Experiments on golden planes with the golden linear decoder, whose answers are known exactly."""

from functools import cached_property

import numpy as np
import pytest
from mindspore import Tensor

from openlrm import load_model
from openlrm.cameras import Camera, orbit
from openlrm.diagnosis.config import CorrectionOptions, DecompositionOptions, TransferOptions
from openlrm.diagnosis.correction import correction, decomposition
from openlrm.diagnosis.nullspace import Linearised
from openlrm.diagnosis.objects import Subject
from openlrm.diagnosis.probe import Probe
from openlrm.diagnosis.spectrum import spectrum
from openlrm.diagnosis.study import Study
from openlrm.diagnosis.transfer import transfer
from openlrm.errors import UserError

pytestmark = pytest.mark.usefixtures("pynative")


class LinearProbe:
    """image[v, o] = sum over planes and channels of colour[o, p, c] rows[v, p] T[p, c] cols[v, p]^T."""

    def __init__(self, golden):
        self.rows, self.cols, self.colour = (golden[f"decoder/{name}"] for name in ("rows", "cols", "colour"))

    def __call__(self, planes):
        return np.einsum("opc,vphi,pcij,vpwj->vohw", self.colour, self.rows, planes, self.cols, optimize=True)

    def floor(self, planes, seed):
        return 0.0


class GoldenStudy(Study):
    indices = np.arange(2)

    @cached_property
    def probe(self):
        return LinearProbe(self.subject)


@pytest.fixture
def study(freq_golden):
    class Given(dict):
        source_view = 0

    return GoldenStudy(Given(freq_golden), None, None, freq_golden["small/pred"], freq_golden["small/ref"], 16, 2, 7)


def test_the_decoder_is_the_golden_one(study, freq_golden):
    np.testing.assert_allclose(study.shown_reference, freq_golden["decoder/image_ref"], rtol=1e-10)


def test_correction(study, freq_golden):
    study.__dict__["indices"] = np.arange(len(study.shown_reference))
    table = freq_golden["causal/table"]
    sweep = correction(study, CorrectionOptions(cutoff=table[3, 0], cutoffs=table[:, 0].tolist())).figures
    names = ("cutoff", None, "error_low", "error_high", "improvement_low", "improvement_high", "power_share_low",
             "power_share_high", "amplification", "gain_low", "gain_high", "gain_ratio")  # fmt: skip
    for row, found in zip(table, sweep["sweep"], strict=True):
        assert sweep["error"] == pytest.approx(row[1], rel=1e-10)
        for value, name in zip(row, names, strict=True):
            if name == "amplification" and row[5] <= 0:
                assert found[name] is None
            elif name is not None:
                assert found[name] == pytest.approx(value, rel=1e-9), name
    assert sweep["error_reference"] == 0
    assert sweep["consistent"] == sweep["sweep"][3]


def test_decomposition(study, freq_golden):
    found = decomposition(study, DecompositionOptions(cutoff=0.3)).figures
    errors = [found["error"], *(found["corrected"][name] for name in ("dc", "structured", "low", "high", "all"))]
    np.testing.assert_allclose(errors, freq_golden["causal/decomposition"], rtol=1e-9, atol=1e-12)
    shares = found["power_share"]
    assert shares["dc"] + shares["structured"] == pytest.approx(shares["low"])  # orthogonal
    assert shares["low"] + shares["high"] == pytest.approx(1)


def test_spectrum(study, freq_golden):
    figures = spectrum(study).figures
    np.testing.assert_allclose(figures["consistent"]["share_by_plane"], freq_golden["small/share_power"], rtol=1e-10)
    np.testing.assert_allclose(figures["parity"]["share_by_plane"], freq_golden["small/share_parity"], rtol=1e-10)
    assert sum(figures["consistent"]["share"]) == pytest.approx(1)


def test_transfer_is_the_exact_one_within_its_noise(study, freq_golden):
    outcome = transfer(study, TransferOptions(num_bands=5, amplitudes=[0.1, 0.5], noise_seeds=8))
    h2 = outcome.arrays["h2"]
    np.testing.assert_allclose(h2[0], h2[1], rtol=1e-6)  # linear: the amplitude does not count
    mean, error = h2[1].mean(0), h2[1].std(0, ddof=1) / np.sqrt(8)
    assert (np.abs(mean - freq_golden["H/exact_rms"]) < 4 * error).all()
    assert outcome.figures["consistent"]["impact"].sum() == pytest.approx(1)


def test_a_band_of_the_mean_alone_is_refused_before_the_work(study):
    with pytest.raises(UserError, match="holds only the mean of 16 x 16 maps"):
        transfer(study, TransferOptions(num_bands=10))


@pytest.mark.parametrize("cutoff", [0.0, -0.1, 1.5])
def test_a_cutoff_that_does_not_cut(study, cutoff):
    with pytest.raises(UserError, match="does not cut the frequencies of 16 x 16 maps"):
        correction(study, CorrectionOptions(cutoff=cutoff))


@pytest.fixture
def probe(mini):
    cameras = Camera(np.stack([orbit(angle, 10, 2.0) for angle in (0, 90)]))
    return Probe(mini.synthesizer, cameras, 8)


@pytest.fixture
def planes(mini, golden):
    return mini.forward_planes(Tensor(golden["image"]), Tensor(golden["source_camera"])).asnumpy()[0]


def test_equal_planes_give_equal_pictures_and_random_samples_a_floor(probe, planes):
    np.testing.assert_array_equal(probe(planes), probe(planes))
    assert probe.floor(planes, 3) == probe.floor(planes, 3) > 0


def test_forward_and_back_are_each_other_s_transpose(repo):
    """<J z, y> = <z, J^T y>, the one by differences of renders, the other by the gradient; and training state stays.

    The gradient knows nothing of samples that move with the planes: of a trained model that is a hundredth.
    """
    reconstructor = load_model(repo / "assets" / "openlrm-tiny-demo", "CPU")
    scene = reconstructor(str(repo / "assets" / "sample_input" / "building_g.png"))
    planes = scene.planes.asnumpy()[0]
    probe = Probe(scene.synthesizer, Camera(np.stack([orbit(angle, 10, 2.0) for angle in (0, 90)])), 16)
    linear, random = Linearised(probe, planes, 0.5), np.random.default_rng(0)
    given = random.standard_normal(planes.shape)
    y = linear.forward(given)
    z = linear.back(y)
    assert not probe.synthesizer.training
    assert (given * z).sum() == pytest.approx((y * y).sum(), rel=0.04)
    assert (linear.forward(z) * y).sum() == pytest.approx((z * z).sum(), rel=0.04)


def test_canonical_camera_at_distance_two_is_the_actual_one(repo):
    from openlrm.diagnosis.objects import read_subject

    actual, told = (
        read_subject(str(repo / "assets" / "sample_object"), "food_dinner", 0, camera)
        for camera in ("actual", "canonical")
    )
    assert isinstance(actual, Subject) and told.distance == actual.distance
    moved = actual.source_camera.c2w[:, :3], told.source_camera.c2w[:, :3]
    np.testing.assert_allclose(*moved, atol=1e-6)
    assert np.linalg.norm(told.source_camera.centers) == pytest.approx(2)
    assert np.linalg.norm(actual.source_camera.centers) == pytest.approx(actual.distance)
