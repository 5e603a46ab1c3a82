"""The compiled loops of triplane sampling at coordinates that no texel has."""

import threading

import numpy as np
import pytest
from mindspore import Tensor, nn, value_and_grad

from openlrm.ops import build_table, sample_table, setup_device

NOWHERE = [np.nan, np.inf, -np.inf, 1e9, -1e9, 1e19, -1e19, 1e38, -1e38]


@pytest.fixture(autouse=True)
def pynative():
    setup_device("CPU", mode=1)


class Total(nn.Cell):
    """A number whose gradient for every feature is one."""

    def construct(self, planes, points):
        return sample_table(build_table(planes), points, planes.shape[2]).sum()


@pytest.mark.parametrize("value", NOWHERE)
@pytest.mark.parametrize("axis", range(3))
def test_a_point_nowhere_has_no_features_and_gives_no_gradient(value, axis):
    planes = np.random.default_rng(0).normal(size=(1, 3, 4, 8, 8)).astype(np.float32)
    points = np.zeros((1, 70, 3), np.float32)
    points[..., axis] = value
    out = sample_table(build_table(Tensor(planes)), Tensor(points), 4).asnumpy()[0].reshape(70, 3, 4)
    # The planes that the axis does not belong to are sampled at their centre.
    others = {0: 2, 1: 1, 2: 0}[axis]
    centre = planes[0, others, :, 3:5, 3:5].mean(axis=(1, 2))
    expected = np.zeros((70, 3, 4), np.float32)
    expected[:, others] = centre
    np.testing.assert_allclose(out, expected, atol=1e-6)

    _, gradient = value_and_grad(Total(), grad_position=0)(Tensor(planes), Tensor(points))
    expected = np.zeros((3, 4, 8, 8), np.float32)
    expected[others, :, 3:5, 3:5] = 70 / 4
    np.testing.assert_allclose(gradient.asnumpy()[0], expected, atol=1e-5)


def test_callers_at_the_same_time():
    """Numba's own threads end the process when two callers meet in them."""
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(1, 3, 8, 16, 16)).astype(np.float32)
    points = rng.uniform(-1, 1, size=(1, 20000, 3)).astype(np.float32)
    expected = sample_table(build_table(Tensor(planes)), Tensor(points), 8).asnumpy()
    found = []

    def ask():
        for _ in range(20):
            found.append(sample_table(build_table(Tensor(planes)), Tensor(points), 8).asnumpy())

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 80
    for values in found:
        np.testing.assert_array_equal(values, expected)
