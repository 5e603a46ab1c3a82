"""What counts as the object: cut out or not, specks, veils; and that memory follows the pixels."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from openlrm.errors import UserError
from openlrm.preprocess import prepare_picture, recentre
from openlrm.preprocess.model_input import prepare_image
from openlrm.preprocess.parts import came_cut_out, isolate

SIDE = 96


def disc(radius: float = 25, row: float = 48, column: float = 48, side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side] + 0.5
    return np.clip(radius + 0.5 - np.hypot(y - row, x - column), 0, 1).astype(np.float32)


def photo(alpha: np.ndarray, grey: float = 0.6) -> np.ndarray:
    """A red disc on grey, (H, W, 4), with that alpha."""
    cover = disc()[..., None]
    rgb = np.float32([0.7, 0.1, 0.1]) * cover + np.float32(grey) * (1 - cover)
    return np.concatenate([rgb, np.broadcast_to(alpha, (SIDE, SIDE))[..., None]], axis=2).astype(np.float32)


def rounded(radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    away = np.hypot(*(np.maximum(np.abs(at - SIDE / 2) - SIDE / 2 + radius, 0) for at in (y, x)))
    return (away <= radius).astype(np.float32)


def bars(rows: int, columns: int) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[rows : SIDE - rows, columns : SIDE - columns] = 1
    return alpha


NOT_CUT_OUT = {
    "one corner": 1 - np.pad(np.ones((3, 3)), ((0, SIDE - 3), (0, SIDE - 3))),
    "small corners": rounded(4),
    "round corners": rounded(20),
    "opacity 250": np.full((SIDE, SIDE), 250 / 255),
    "opacity 90": np.full((SIDE, SIDE), 90 / 255),
    "nearly opaque, uneven": np.random.default_rng(0).uniform(0.7, 1, (SIDE, SIDE)),
    "a clear pixel": 1 - np.pad(np.ones((1, 1)), ((10, SIDE - 11), (50, SIDE - 51))),
    "bars above and below": bars(16, 0),
    "bars at the sides": bars(0, 12),
    "a bar at one side": np.concatenate([np.ones((SIDE, SIDE - 20)), np.zeros((SIDE, 20))], axis=1),
}


@pytest.mark.parametrize("name", NOT_CUT_OUT)
def test_an_alpha_channel_that_shows_no_object(monkeypatch, name):
    """The background goes as it goes from the opaque picture."""
    monkeypatch.setattr("openlrm.preprocess.picture.missing_for_rembg", lambda: "not here")
    alpha = NOT_CUT_OUT[name].astype(np.float32)
    assert not came_cut_out(alpha)
    picture = photo(alpha)
    picture[alpha < 0.1, :3] = 0  # what programs leave where nothing is seen
    pixels, way = prepare_picture(picture, size=64)
    assert way == "plain"
    np.testing.assert_allclose(pixels, prepare_picture(photo(alpha)[..., :3], size=64).pixels, atol=0.02)
    kept, way = prepare_picture(picture, "keep")
    assert way == "keep" and kept.shape == (SIDE, SIDE, 3)


CUT_OUT = {
    "inside": disc(),
    "small": disc(4, 20, 70),
    "large": disc(47),
    "half clear": 0.5 * disc(),
    "cut by the bottom": disc(40, 90),
    "cut by a corner": disc(40, 90, 90),
    "cut by two sides": np.maximum(disc(20), np.abs(np.mgrid[:SIDE, :SIDE][0] - 50) < 6),
    "cut by three": np.pad(np.ones((50, SIDE)), ((46, 0), (0, 0))) - 0.0 * disc(),
    "a box": bars(20, 30),
    "on a veil": np.maximum(disc(), 0.2),
}
CUT_OUT["cut by three"][46:60, :60] = 0


@pytest.mark.parametrize("name", CUT_OUT)
def test_an_alpha_channel_that_shows_one(name):
    assert came_cut_out(CUT_OUT[name].astype(np.float32))


def framed(alpha: np.ndarray) -> np.ndarray:
    rgb = np.full((*alpha.shape, 3), 0.5, np.float32)
    return recentre(np.concatenate([rgb, alpha[..., None].astype(np.float32)], axis=2), size=64)[..., 3]


@st.composite
def dirt(draw):
    """Specks around a disc, and a veil over all."""
    alpha = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(draw(st.integers(0, 5))):
        row, column = draw(st.sampled_from([(2, 2), (5, 90), (91, 50), (80, 6), (93, 93), (47, 1)]))
        alpha[row : row + 1, column : column + draw(st.integers(1, 2))] = draw(st.floats(0.05, 1))
    return alpha, draw(st.floats(0, 0.2))


@settings(max_examples=40, deadline=None)
@given(dirt())
@example((np.zeros((SIDE, SIDE), np.float32), np.float32(0.15)))
def test_dirt_does_not_move_the_object(given_dirt):
    specks, veil = given_dirt
    clean, dirty = disc(), np.maximum(np.maximum(disc(), specks), np.float32(veil))
    before, after = framed(clean), framed(dirty)
    extents = [[at.any(axis=axis).nonzero()[0][[0, -1]] for axis in (0, 1)] for at in (before > 0.5, after > 0.5)]
    assert np.abs(np.subtract(*extents)).max() <= 1
    assert after[before < 0.01].max(initial=0) <= 0.1, "what is no object is left out"


def test_what_belongs_to_the_object_stays():
    """Soft edges, faint parts of it, and parts that are not connected."""
    alpha = np.maximum(disc(12, 30, 30), disc(12, 70, 60))
    np.testing.assert_array_equal(isolate(alpha)[0], alpha)
    soft = np.clip(disc(20) - 0.3 * np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32), 0, 1)
    np.testing.assert_array_equal(isolate(soft)[0], soft)
    glass = np.maximum(disc(12), 0.3 * disc(30))
    assert isolate(glass)[1].sum() > 2500
    with pytest.raises(UserError, match="transparent"):
        framed(0.08 * disc())


def peak_of(function, *arguments) -> int:
    """Greatest memory of numpy during a call."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# What a call takes whatever the picture: results of 256 px, tiles that are worked on at a time, fits and tables.
CONSTANT = 24 << 20
SHAPES = [(1_000_000, 2), (2, 1_000_000), (20_000, 10), (1, 70_000), (1500, 1000)]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(["RGB", "RGBA", "L", "I;16"]), st.booleans())
@example((1500, 1000), "RGBA", True)
@example((1500, 1000), "RGB", True)
def test_memory_follows_the_pixels(tmp_path_factory, shape, mode, prepared):
    """An object over the middle of the picture, cut out by its colour or put into a model's size."""
    height, width = shape
    file = tmp_path_factory.getbasetemp() / "large.png"
    image = Image.new(mode, (width, height), {"RGB": (200, 210, 220), "RGBA": (0, 0, 0, 0)}.get(mode, 200))
    box = (width // 4, height // 4, max(3 * width // 4, 1), max(3 * height // 4, 1))
    image.paste({"RGB": (90, 20, 20), "RGBA": (90, 20, 20, 255)}.get(mode, 20), box)
    image.save(file, compress_level=1)
    stored = height * width * (4 if mode == "RGBA" else 3)

    def run():
        try:
            prepare_picture(file, "plain", True, 0.18, 256) if prepared else prepare_image(file, 224, file)
        except UserError as error:
            assert min(shape) < 11, error

    assert peak_of(run) < 12 * stored + CONSTANT
