"""Where an object stands in the picture after recentring, and its way there."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from openlrm.errors import UserError
from openlrm.preprocess import BORDER_RATIO, border_ratio_at, missing_for_rembg, prepare_picture, recentre


def box(height: int, width: int, top: int, left: int, side: tuple[int, int] = (200, 120)) -> np.ndarray:
    rgba = np.zeros((*side, 4), np.float32)
    rgba[..., :3] = [0, 1, 0]  # must not bleed in from where nothing is seen
    rgba[top : top + height, left : left + width] = [1, 0, 0, 1]
    return rgba


@pytest.mark.parametrize(("height", "width", "top", "left"), [(60, 30, 0, 5), (20, 90, 150, 30), (200, 120, 0, 0)])
@pytest.mark.parametrize("border", [0.0, BORDER_RATIO, 0.3])
def test_extent_and_place(height, width, top, left, border):
    out = recentre(box(height, width, top, left), border, 256)
    assert out.shape == (256, 256, 4)
    seen = out[..., 3] > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    scale = 256 * (1 - 2 * border) / max(height, width)
    assert abs(len(rows) - scale * height) <= 2 and abs(len(columns) - scale * width) <= 2
    assert abs(rows[0] - (255 - rows[-1])) <= 1 and abs(columns[0] - (255 - columns[-1])) <= 1
    # The total is kept where nothing is cut off: no stretching, no loss at a soft edge.
    if border:
        assert out[..., 3].sum() == pytest.approx(scale**2 * height * width, rel=0.02)
    assert np.abs(out[seen][:, :3] - [1, 0, 0]).max() < 0.02


def test_margin_follows_the_distance():
    """What is seen from twice as far is half as long, up to the limits of `recentre`."""
    filled = {distance: 1 - 2 * border_ratio_at(distance) for distance in (1.0, 2.0, 2.5, 4.0, 1e6)}
    assert filled[2.0] == pytest.approx(1 - 2 * BORDER_RATIO)
    assert filled[4.0] == pytest.approx(filled[2.0] / 2)
    assert filled[2.5] == pytest.approx(filled[2.0] * 0.8)
    assert filled[1.0] == 1 and filled[1e6] == pytest.approx(0.1)


def test_nothing_and_nonsense():
    with pytest.raises(UserError, match="transparent"):
        recentre(np.zeros((8, 8, 4), np.float32))
    with pytest.raises(UserError, match=r"border_ratio=0\.5"):
        recentre(box(60, 30, 0, 5), 0.5)


def picture(kind: str) -> np.ndarray:
    rgba = box(60, 30, 40, 40)
    white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    return {"rgba": rgba, "white": white, "opaque": np.concatenate([white, np.ones_like(white[..., :1])], axis=2)}[kind]


@pytest.fixture
def no_rembg(monkeypatch):
    monkeypatch.setattr("openlrm.preprocess.picture.missing_for_rembg", lambda: "not here")


@pytest.mark.parametrize(
    ("kind", "background", "done"),
    [
        ("rgba", "auto", "transparent"),
        ("white", "auto", "plain"),
        ("opaque", "auto", "plain"),
        ("rgba", "plain", "transparent"),
        ("white", "keep", "keep"),
    ],
)
def test_ways(kind, background, done, no_rembg):
    pixels, way = prepare_picture(picture(kind), background, size=64)
    assert way == done
    if done == "keep":
        assert np.array_equal(pixels, picture("white"))
    else:
        expected = recentre(box(60, 30, 40, 40), size=64)
        assert np.abs(pixels[..., 3] - expected[..., 3]).mean() < 0.01


def test_all_ways_give_the_same_picture_of_the_same_object(no_rembg):
    cut, given = (prepare_picture(picture(kind), size=64).pixels for kind in ("white", "rgba"))
    np.testing.assert_allclose(cut, given, atol=0.02)


def test_rembg_is_used_when_it_and_its_network_are_there(monkeypatch, tmp_path):
    """A stand-in for the package: what is red is the object."""
    calls = []

    def remove(image: Image.Image, session: str, only_mask: bool) -> Image.Image:
        calls.append((session, only_mask))
        return Image.fromarray(np.where(np.asarray(image)[..., 1] < 128, 255, 0).astype(np.uint8))

    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    fake = types.ModuleType("rembg")
    fake.__spec__ = types.SimpleNamespace()
    fake.remove, fake.new_session = remove, lambda name: f"session of {name}"
    monkeypatch.setitem(sys.modules, "rembg", fake)
    assert "not on this machine" in missing_for_rembg() and str(tmp_path) in missing_for_rembg()
    assert prepare_picture(picture("white")).background == "plain"
    with pytest.raises(UserError, match=r"u2net\.onnx"):
        prepare_picture(picture("white"), "rembg")
    (tmp_path / "u2net.onnx").touch()
    pixels, way = prepare_picture(picture("white"), size=64)
    assert way == "rembg" and calls == [("session of u2net", True)]
    assert np.abs(pixels[..., 3] - recentre(box(60, 30, 40, 40), size=64)[..., 3]).max() < 0.02
    with pytest.raises(UserError, match="rembg found no object"):
        prepare_picture(np.ones((9, 9, 3), np.float32), "rembg")


def test_without_rembg_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rembg", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install"):
        prepare_picture(picture("white"), "rembg")
    with pytest.raises(UserError, match="background=magic is not known.*plain"):
        prepare_picture(picture("white"), "magic")
