"""Objects on plain backgrounds, against the transparency they were painted with."""

import io

import numpy as np
import pytest
from PIL import Image

from openlrm.errors import UserError
from openlrm.preprocess import remove_plain_background

SIDE = 96


def painted(scale: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) and exact coverage (H, W) of a red ring beside a blue bar, by counting finer pixels."""
    y, x = (np.mgrid[: SIDE * scale, : SIDE * scale] + 0.5) / scale
    radius = np.hypot(x - 40, y - 48)
    ring, bar = (radius < 26.3) & (radius > 12.2), (np.abs(x - 78.1) < 4.3) & (np.abs(y - 48) < 30.4)
    cover = (ring | bar).reshape(SIDE, scale, SIDE, scale).mean(axis=(1, 3))
    colour = np.where(np.arange(SIDE)[None, :, None] < 70, [0.7, 0.15, 0.1], [0.1, 0.2, 0.6])
    return np.broadcast_to(colour, (SIDE, SIDE, 3)).copy(), cover


def gradient() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return np.stack([0.55 + 0.2 * x, 0.8 - 0.1 * y, 0.6 + 0.1 * x + 0.1 * y], axis=-1)


BACKGROUNDS = {
    "white": np.ones((SIDE, SIDE, 3)),
    "black": np.zeros((SIDE, SIDE, 3)),
    "green": np.broadcast_to([0.2, 0.8, 0.3], (SIDE, SIDE, 3)),
    "gradient": gradient(),
}


def on(background: np.ndarray, noise: float = 0.0) -> np.ndarray:
    colour, cover = painted()
    picture = colour * cover[..., None] + background * (1 - cover[..., None])
    picture = picture + np.random.default_rng(0).normal(0, 1, picture.shape) * noise
    return np.clip(picture, 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_alpha_and_colour_are_those_that_were_painted(name):
    colour, cover = painted()
    cut = remove_plain_background(on(BACKGROUNDS[name]))
    edge = (cover > 0.02) & (cover < 0.98)
    assert edge.sum() > 100
    assert np.abs(cut[..., 3] - cover)[edge].max() < 0.1
    assert (cut[..., 3][cover == 0] == 0).all() and (cut[..., 3][cover == 1] == 1).all()
    # No rim of the background's colour.
    assert np.abs(cut[..., :3] - colour)[cut[..., 3] > 0.05].max() < 0.05


def test_noise_and_jpeg():
    _, cover = painted()
    noisy = remove_plain_background(on(BACKGROUNDS["gradient"], noise=0.015))
    file = io.BytesIO()
    Image.fromarray((on(BACKGROUNDS["green"]) * 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    jpeg = remove_plain_background(np.asarray(Image.open(file), np.float32) / 255)
    # The quality given leaves halos of some pixels in so small a picture; a filled hole alone would be 0.06.
    for cut, error in ((noisy, 0.01), (jpeg, 0.03)):
        assert np.abs(cut[..., 3] - cover).mean() < error
        assert (cut[..., 3] > 0.5)[cover == 0].mean() < 0.01
    assert (noisy[..., 3][:10] == 0).all(), "a veil of noise"


def test_an_object_may_be_cut_by_the_edge():
    picture = on(BACKGROUNDS["white"])[:, 20:]
    cut = remove_plain_background(picture)
    assert cut[48, 0, 3] == 1 and cut[0, 0, 3] == 0


def test_what_is_enclosed_in_another_colour_stays():
    """A hole shows the background itself; a label of a similar colour belongs to the object."""
    picture = on(BACKGROUNDS["white"])
    y, x = np.mgrid[:SIDE, :SIDE]
    picture[(np.abs(x - 40) < 4) & (np.abs(y - 29) < 4)] = 0.97
    cut = remove_plain_background(picture)
    assert cut[29, 40, 3] == 1
    assert cut[48, 40, 3] == 0


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.random.default_rng(0).random((40, 40, 3)), "background is not plain"),
        (np.repeat(np.eye(2).repeat(20, 0).repeat(20, 1)[..., None], 3, axis=2), "background is not plain"),
        (np.full((40, 40, 3), 0.5), "no object stands out"),
    ],
)
def test_refused(picture, message):
    with pytest.raises(UserError, match=message):
        remove_plain_background(picture.astype(np.float32))
