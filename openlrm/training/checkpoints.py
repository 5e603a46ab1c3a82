"""Checkpoints of a run: models to use (`openlrm-e<epoch>.ckpt`) and the state to go on from (`train_resume.ckpt`)."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlrm.checkpoint import read_tensors, write_ckpt
from openlrm.errors import UserError
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path, ensure_dir

logger = get_logger(__name__)

RESUME = "train_resume.ckpt"
PREVIOUS = "train_resume.prev.ckpt"
_DAMAGED = "train_resume.damaged.ckpt"
_CHECKSUM = "optimizer.crc32"
_MODEL = re.compile(r"openlrm-e(\d+)\.ckpt")
_COUNTERS = {"step": "global_step", "epoch": "epoch_num", "batch": "optimizer.batch"}


@dataclass(frozen=True)
class Position:
    """Where a run stands: what comes next, all counted from 0.

    Attributes:
        step: optimisation step.
        epoch: pass over the data.
        batch: batch of that pass.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0


class Checkpoints:
    """The folder `ckpt` of a run.

    Args:
        run: the run's folder.
        keep: model checkpoints kept.
    """

    def __init__(self, run: str | os.PathLike, keep: int):
        self.folder = Path(run) / "ckpt"
        self.keep = keep

    def save_model(self, tensors: dict[str, np.ndarray], epoch: int) -> Path:
        """Write the model after `epoch` passes and drop the checkpoints that are no longer kept."""
        path = ensure_dir(self.folder) / f"openlrm-e{epoch}.ckpt"
        write_ckpt(path, tensors)
        for old in surplus(self.epochs(), self.keep):
            (self.folder / f"openlrm-e{old}.ckpt").unlink(missing_ok=True)
        return path

    def epochs(self) -> list[int]:
        """Epochs of the model checkpoints there are, ascending."""
        found = (_MODEL.fullmatch(path.name) for path in self.folder.glob("*.ckpt"))
        return sorted(int(match.group(1)) for match in found if match)

    def save_resume(self, tensors: dict[str, np.ndarray], position: Position) -> None:
        """Write the state to go on from; the one before it stays as `train_resume.prev.ckpt`.

        Args:
            tensors: weights and optimiser state; a checksum is added.
            position: what comes next.
        """
        counters = {name: np.array([getattr(position, key)], np.int64) for key, name in _COUNTERS.items()}
        tensors = tensors | counters
        tensors[_CHECKSUM] = np.array([checksum(tensors)], np.int64)
        newest = ensure_dir(self.folder) / RESUME
        with atomic_path(newest) as temporary:
            write_ckpt(temporary, tensors)
            # Killed between the two renames, the run goes on from the previous state.
            if newest.exists():
                os.replace(newest, self.folder / PREVIOUS)

    def load_resume(self) -> tuple[dict[str, np.ndarray], Position]:
        """Read the newest state that is whole; a damaged one is reported and put aside.

        What a killed run left half-written is removed: a folder has one run at a time.

        Raises:
            UserError: there is none.
        """
        for half_written in self.folder.glob(".tmp-*"):
            half_written.unlink(missing_ok=True)
        for name in (RESUME, PREVIOUS):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                tensors = _read_checked(path)
            except UserError as error:
                logger.warning("%s; the state before it is taken", error)
                # Put aside, or the next save would keep it in place of the good one.
                os.replace(path, self.folder / _DAMAGED)
                continue
            position = Position(**{key: int(tensors.pop(name)[0]) for key, name in _COUNTERS.items()})
            return tensors, position
        raise UserError(f"no usable {RESUME}", self.folder, "give a run folder that has one, or leave resume out")


def surplus(epochs: Iterable[int], keep: int) -> list[int]:
    """Which checkpoints to drop: the newer half of those kept stay dense, older ones thin out.

    Among the older ones the one goes whose neighbours lie closest together, measured by their age; the oldest
    stays. So the gaps grow with age, about in proportion.

    Args:
        epochs: of the checkpoints there are.
        keep: how many stay, at least 2.

    Returns:
        Epochs to drop, in the order chosen.
    """
    kept, dropped = sorted(epochs), []
    recent = (keep + 1) // 2
    while len(kept) > keep:
        newest = kept[-1]
        inner = range(1, len(kept) - recent)
        index = min(inner, key=lambda i: (kept[i + 1] - kept[i - 1]) / (newest - kept[i]), default=0)
        dropped.append(kept.pop(index))
    return dropped


def checksum(tensors: dict[str, np.ndarray]) -> int:
    """CRC-32 over names and values, whatever their order."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).view(np.uint8).reshape(-1).data, crc)
    return crc


def _read_checked(path: Path) -> dict[str, np.ndarray]:
    tensors = read_tensors(path)
    stored = tensors.pop(_CHECKSUM, None)
    if stored is None or int(stored[0]) != checksum(tensors):
        raise UserError("damaged state: its checksum is wrong", path)
    return tensors
