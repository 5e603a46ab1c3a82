"""Effective ranks of the golden decoder."""

import numpy as np
import pytest

from openlrm.analysis import rank
from openlrm.analysis.transfer import mean_absolute, root_mean_square


@pytest.fixture(scope="module")
def jacobian(decode):
    """(180, 6144): the decoder's matrix."""
    rows = []
    for index in range(6144):
        unit = np.zeros(6144)
        unit[index] = 1
        rows.append(decode(unit.reshape(3, 8, 16, 16)).ravel())
    return np.stack(rows, 1)


def test_spread_of_random_directions(freq_golden, decode, close):
    directions = rank.random_directions(np.random.RandomState(13), 600, 6144)
    changes = [decode(0.1 * direction.reshape(3, 8, 16, 16)) for direction in directions]
    l1, rms = ([measure(change) for change in changes] for measure in (mean_absolute, root_mean_square))
    close(l1, freq_golden["null/l1"])
    close(rms, freq_golden["null/rms"])
    for values, key in ((l1, "l1"), (rms, "rms")):
        close(rank.spread(values)[:6], freq_golden[f"null/{key}_stats"])
    close(rank.spread(l1).below, freq_golden["null/below"])
    found = rank.participation_from_spread(rank.spread(rms).relative)
    assert found == pytest.approx(freq_golden["null/ranks"][1], rel=0.15)


def test_ranks(freq_golden, jacobian, close):
    singular = np.linalg.svd(jacobian, compute_uv=False)
    close(singular, freq_golden["null/singular_values"])
    numerical, participation, entropy, stable = freq_golden["null/ranks"]
    assert np.linalg.matrix_rank(jacobian) == numerical
    found = [rank.participation_ratio(singular), rank.entropy_rank(singular), rank.stable_rank(singular)]
    close(found, np.array([participation, entropy, stable]))
    close(1 / np.sqrt(2 * found[0]), freq_golden["null/expected_spread"])


def test_probes(freq_golden, jacobian, close):
    probes = np.random.RandomState(14).standard_normal((64, 6144))
    answers = probes @ jacobian.T
    forward, back = ((values**2).sum(1) for values in (answers, answers @ jacobian))
    close(rank.participation_from_probes(forward, back), freq_golden["null/hutchinson"])


def test_equal_and_single_singular_values():
    assert rank.participation_ratio([3] * 7) == pytest.approx(7)
    assert rank.entropy_rank([3] * 7 + [0]) == pytest.approx(7)
    assert rank.stable_rank([3] * 7) == pytest.approx(7)
    assert rank.participation_ratio([5, 0, 0]) == rank.entropy_rank([5, 0, 0]) == rank.stable_rank([5, 0, 0]) == 1
    assert rank.participation_from_spread(0.007) == pytest.approx(10_204, abs=1)
