"""The sheet of the README: input, views, meshes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("demo_picture", REPO / "scripts" / "demo_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nearest_point_wins(script):
    pose = np.array([[1, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0]], np.float32)
    points = np.array([[0, 0.5, 0], [0, -0.5, 0], [0, 0.2, 0]])
    colors = np.eye(3)
    picture = script.draw_points(points, colors, pose, 16)
    assert picture[8, 8].tolist() == [0, 1, 0]
    assert (picture == 1).all(axis=-1).sum() == 16 * 16 - 4


@pytest.mark.slow
def test_sheet_of_the_demonstration_model(script, tmp_path):
    given = REPO / "assets" / "sample_input" / "building_g.png"
    assert script.main([str(given), str(tmp_path / "sheet.png"), "--size", "48"]) == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (48, 7 * 48 + 6 * 6, 3)
    panels = [sheet[:, start : start + 48] for start in range(0, sheet.shape[1], 54)]
    assert all(0.1 < (panel < 240).any(axis=-1).mean() < 0.9 for panel in panels)
    assert np.ptp(panels[-1].astype(int), axis=-1).max() < 10, "the last one is grey"
