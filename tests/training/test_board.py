"""TensorBoard: what is written with tensorboardX, and that nothing is needed without it."""

import sys
from types import ModuleType

import numpy as np

from openlrm.training.board import Board, grid


def test_without_the_package_it_says_so_once_and_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    told = []
    monkeypatch.setattr("openlrm.training.board.logger.info", told.append)
    board = Board(tmp_path)
    board.scalars("train", {"loss": 1.0}, 3)
    board.picture("views", np.zeros((2, 2, 3)), 3)
    board.close()
    assert told == ["no TensorBoard events: pip install tensorboardX"]
    assert list(tmp_path.iterdir()) == []


def test_names_steps_and_pictures_arrive(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, *arguments):
            written.append(arguments)

        def add_image(self, name, picture, step, dataformats):
            written.append((name, picture.shape, picture.max(), step, dataformats))

        def close(self):
            written.append("closed")

    module = ModuleType("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    board = Board(tmp_path)
    board.scalars("train", {"loss": 1.0, "tv": 2.0}, 3)
    board.picture("views", np.full((4, 5, 3), 1.5), 7)
    board.close()
    assert written == [
        str(tmp_path / "tensorboard"),
        ("train/loss", 1.0, 3),
        ("train/tv", 2.0, 3),
        ("views", (4, 5, 3), 1.0, 7, "HWC"),
        "closed",
    ]


def test_grid_has_the_truth_above_and_views_side_by_side():
    truth = np.arange(2 * 3).reshape(2, 3, 1, 1, 1) * np.ones((2, 3, 3, 4, 4))
    picture = grid(truth, truth + 10)
    assert picture.shape == (4 * 4, 3 * 4, 3)
    np.testing.assert_array_equal(picture[::4, ::4, 0], [[0, 1, 2], [10, 11, 12], [3, 4, 5], [13, 14, 15]])
