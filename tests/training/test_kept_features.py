"""Features of a frozen encoder: computed once, kept in memory and in files."""

import mindspore as ms
import numpy as np
import pytest

from openlrm.training.kept_features import KeptFeatures

PICTURES = np.random.default_rng(0).random((3, 3, 4, 4), np.float32)


class Encoder:
    """Sums of a picture's channels; counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return picture.sum(axis=(2, 3))[:, None]


@pytest.fixture
def encoder():
    return Encoder()


def weights(value: float) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor([value], ms.float32), name="weight")]


def test_each_picture_is_encoded_once(encoder):
    kept = KeptFeatures(encoder, 1 << 20)
    first, again = kept(PICTURES), kept(PICTURES[::-1])
    assert encoder.calls == 3
    np.testing.assert_array_equal(first, PICTURES.sum(axis=(2, 3))[:, None])
    np.testing.assert_array_equal(first, again[::-1])


def test_what_memory_does_not_hold_comes_from_files(encoder, tmp_path):
    kept = KeptFeatures(encoder, 0, tmp_path, weights(1))
    first = kept(PICTURES)
    np.testing.assert_array_equal(kept(PICTURES), first)
    np.testing.assert_array_equal(KeptFeatures(encoder, 0, tmp_path, weights(1))(PICTURES), first)
    assert encoder.calls == 3


def test_other_weights_are_another_encoder(encoder, tmp_path):
    KeptFeatures(encoder, 0, tmp_path, weights(1))(PICTURES)
    KeptFeatures(encoder, 0, tmp_path, weights(2))(PICTURES)
    assert encoder.calls == 6


def test_weights_are_read_when_the_first_picture_comes(encoder, tmp_path):
    """A resumed run loads them after the task was made."""
    loaded = weights(1)
    kept = KeptFeatures(encoder, 0, tmp_path, loaded)
    loaded[0].set_data(ms.Tensor([5], ms.float32))
    kept(PICTURES)
    KeptFeatures(encoder, 0, tmp_path, weights(5))(PICTURES)
    assert encoder.calls == 3


def test_a_damaged_file_is_computed_again(encoder, tmp_path):
    kept = KeptFeatures(encoder, 0, tmp_path, weights(1))
    first = kept(PICTURES)
    damaged = next(tmp_path.rglob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    np.testing.assert_array_equal(kept(PICTURES), first)
    assert encoder.calls == 4
    np.testing.assert_array_equal(kept(PICTURES), first)
    assert encoder.calls == 4
