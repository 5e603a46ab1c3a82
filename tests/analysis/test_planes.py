"""Basins and calibration."""

import numpy as np
import pytest

from openlrm.analysis.basins import compare_planes
from openlrm.analysis.calibration import KINDS, calibrate
from openlrm.analysis.transfer import mean_absolute, root_mean_square


def test_golden_basins(freq_golden, close):
    planes = {name: freq_golden[f"small/{name}"] for name in ("pred", "ref", "rand")}
    found = [compare_planes(planes[a], planes[b]) for a, b in (("pred", "rand"), ("pred", "ref"), ("rand", "ref"))]
    close([[b.correlation, b.l1, b.scale, b.cosine] for b in found], freq_golden["basins/table"])
    close([b.channel_correlation for b in found], freq_golden["basins/channel_r"])


def test_a_constant_channel_correlates_with_nothing():
    a = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    b = 3 * a + 1
    b[:, 1] = 0.1
    found = compare_planes(a, b)
    np.testing.assert_allclose(found.channel_correlation, [1, 0])
    assert found.correlation == pytest.approx(0.5)
    nothing = compare_planes(0 * a, a)
    assert nothing.scale == nothing.cosine == nothing.correlation == 0


def test_golden_calibration(freq_golden, decode, close):
    predicted, reference = freq_golden["small/pred"], freq_golden["small/ref"]
    found = {kind: calibrate(predicted, reference, kind) for kind in KINDS}
    close(found["global"].slope, np.repeat(freq_golden["calibration/global"], 8))
    close(found["scale"].slope, freq_golden["calibration/scale"])
    close(found["affine"].slope, freq_golden["calibration/slope"])
    close(found["affine"].offset, freq_golden["calibration/offset"])
    planes = [predicted, *(found[kind].planes for kind in KINDS)]
    close([root_mean_square(p - reference) for p in planes], freq_golden["calibration/plane_rms"])
    close([mean_absolute(decode(p - reference)) for p in planes], freq_golden["calibration/image_l1"])


def test_calibration_undoes_what_it_can():
    reference = np.random.default_rng(0).standard_normal((3, 4, 5, 5))
    slope, offset = np.array([2, -1, 0.5, 3]), np.array([0, 1, -2, 0.1])
    predicted = (reference - offset[:, None, None]) / slope[:, None, None]
    found = calibrate(predicted, reference, "affine")
    np.testing.assert_allclose(found.planes, reference, atol=1e-12)
    np.testing.assert_allclose((found.slope, found.offset), (slope, offset), atol=1e-12)
    errors = [root_mean_square(calibrate(predicted, reference, kind).planes - reference) for kind in KINDS]
    assert errors[0] > errors[1] > errors[2]
