"""The state a Cell is in: training or inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import nn


@contextmanager
def inference_state(cell: nn.Cell) -> Iterator[None]:
    """Have a Cell in inference state for the length of the block, and in its own again after it, whatever happens."""
    if not cell.training:
        yield
        return
    cell.set_train(False)
    try:
        yield
    finally:
        cell.set_train(True)


@contextmanager
def training_state(cell: nn.Cell) -> Iterator[None]:
    """Have a Cell in training state for the length of the block, and in inference state after it."""
    cell.set_train(True)
    try:
        yield
    finally:
        cell.set_train(False)
