"""The sample generator: alpha-weighted halving, and that the assets are what it makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
ASSETS = REPO / "assets"


@pytest.fixture(scope="module")
def make_samples():
    spec = importlib.util.spec_from_file_location("make_samples", REPO / "scripts/data/make_samples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("background", [0.0, 0.5, 1.0])
def test_halving_commutes_with_blending(make_samples, background):
    rgba = np.random.default_rng(0).random((6, 8, 4))
    rgba[:4, :2, 3] = 0

    def blend(image):
        return image[..., :3] * image[..., 3:] + background * (1 - image[..., 3:])

    full = blend(rgba)
    mean = (full[0::2, 0::2] + full[1::2, 0::2] + full[0::2, 1::2] + full[1::2, 1::2]) / 4
    np.testing.assert_allclose(blend(make_samples.halve(rgba)), mean, atol=1e-12)


def test_colour_of_empty_pixels_does_not_bleed(make_samples):
    rgba = np.zeros((2, 2, 4))
    rgba[0, 0] = (0.2, 0.4, 0.6, 1)
    rgba[0, 1] = (1, 1, 1, 0)
    np.testing.assert_allclose(make_samples.halve(rgba), [[[0.2, 0.4, 0.6, 0.25]]])


def test_assets_are_what_the_script_makes(make_samples, shared_dir, tmp_path):
    assert make_samples.main([str(shared_dir / "data" / "renders"), "--output", str(tmp_path)]) == 0
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(ASSETS) for path in ASSETS.glob("sample_*/**/*") if path.is_file()}
    assert made == {path for path in kept if path.name != "README.md"}
    for path in made:
        # Pixels, not bytes: the compressor's version is not ours to fix.
        if path.suffix == ".png":
            np.testing.assert_array_equal(Image.open(tmp_path / path), Image.open(ASSETS / path))
        else:
            assert (tmp_path / path).read_bytes() == (ASSETS / path).read_bytes()


def test_missing_renders_are_one_line(make_samples, tmp_path, capsys):
    assert make_samples.main([str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    assert not (tmp_path / "out").exists()
