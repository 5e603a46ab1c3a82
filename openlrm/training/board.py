"""TensorBoard: scalars and pictures, when tensorboardX is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openlrm.utils.logging import get_logger

logger = get_logger(__name__)


class Board:
    """Writes events into a run's folder; without tensorboardX says so once and does nothing.

    Args:
        folder: of the run; None to write nothing.
    """

    def __init__(self, folder: Path | None):
        self.writer = None
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            logger.info("no TensorBoard events: pip install tensorboardX")
        else:
            self.writer = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Write numbers as group/name."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Write an (H, W, 3) picture in [0, 1]."""
        if self.writer is not None:
            self.writer.add_image(name, np.clip(picture, 0, 1), step, dataformats="HWC")

    def close(self) -> None:
        """Put everything on disk."""
        if self.writer is not None:
            self.writer.close()


def grid(truth: np.ndarray, shown: np.ndarray, objects: int = 4) -> np.ndarray:
    """Regions side by side: (N, M, 3, R, R) twice -> (H, W, 3), an object a pair of rows, the truth above."""
    rows = []
    for pair in zip(truth[:objects], shown[:objects], strict=True):
        rows += [np.concatenate(list(views), axis=2) for views in pair]
    return np.concatenate(rows, axis=1).transpose(1, 2, 0)
