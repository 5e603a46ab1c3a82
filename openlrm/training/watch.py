"""Collapse watch: is what the model renders an object, and does it depend on the picture it was given?

The usual failure of an LRM in training is one shape for every input, or none at all. Two questions tell the kinds
apart. Opacity against the targets' alpha: a field that is empty or full. The loss with another object's picture in
place of the right one: if it is no worse, the model ignores its input; if it is worse and the loss still stands, the
input gets through and what follows it (planes, decoder, samples, rate) cannot represent the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from openlrm.datasets import Item

EMPTY, FOG, IGNORES, STUCK, ALIVE = "empty", "fog", "ignores its input", "uses its input, loss stands", "alive"

_ADVICE = {
    EMPTY: "nothing is rendered: give train.loss.mask_weight, or lower the rate",
    FOG: "the whole cube is filled: give train.loss.mask_weight",
    IGNORES: "another picture gives the same result: longer or steeper start, more objects a batch, mask loss",
    STUCK: "the picture matters, but the loss stands: more steps, samples, rays, or finer planes",
}
# Shares at which a state is called by its name.
_EMPTY_SHARE, _FOG_OPACITY, _FOG_SHARE, _GAIN, _STANDS = 0.1, 0.85, 1.5, 1.05, 0.98


@dataclass(frozen=True)
class Look:
    """One look at a batch.

    Attributes:
        opacity: mean of the rendered opacity.
        alpha: mean of the targets' alpha.
        planes_spread: standard deviation of the planes over the batch over that of all their entries.
        pixel: colour MSE with the right pictures.
        input_gain: colour MSE with another object's pictures over `pixel`; None with one object alone.
        input_effect: RMS change of the rendered colours when the pictures are exchanged; None with one object alone.
    """

    opacity: float
    alpha: float
    planes_spread: float
    pixel: float
    input_gain: float | None
    input_effect: float | None

    def scalars(self) -> dict[str, float]:
        """Fields that have a value."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def verdict(look: Look, earlier_pixel: float | None = None) -> str:
    """Name the state.

    Args:
        look: the present.
        earlier_pixel: `pixel` of the look before; without it nothing is called standing still.
    """
    if look.opacity < _EMPTY_SHARE * look.alpha:
        return EMPTY
    if look.opacity > _FOG_OPACITY and look.opacity > _FOG_SHARE * look.alpha:
        return FOG
    if look.input_gain is not None and look.input_gain < _GAIN:
        return IGNORES
    if earlier_pixel is not None and look.pixel > _STANDS * earlier_pixel:
        return STUCK
    return ALIVE


def advice(state: str) -> str | None:
    """What to try in a state; None when nothing is wrong."""
    return _ADVICE.get(state)


Render = Callable[[Item, int], tuple[np.ndarray, np.ndarray, np.ndarray] | None]
"""See `openlrm.training.objects.ObjectTask.render`."""


def look_at(render: Render, batch: Item, step: int, exchange: bool = True) -> Look | None:
    """Render a batch, and again with each object's picture given to the next one.

    Source cameras stay where they are, so that only the pictures can make a difference.

    Args:
        render: renders, or gives None where there is nothing to look at.
        batch: of several objects, or of one.
        step: chooses the draws.
        exchange: whether there are several objects in all.
    """
    rendered = render(batch, step)
    if rendered is None:
        return None
    planes, rgb, opacity = rendered
    pixel = float(np.mean((rgb - batch.images) ** 2))
    gain = effect = None
    if exchange and len(planes) > 1:
        _, other, _ = render(batch.with_sources(np.roll(batch.source_images, 1, axis=0)), step)
        gain = float(np.mean((other - batch.images) ** 2)) / max(pixel, 1e-12)
        effect = float(np.sqrt(np.mean((other - rgb) ** 2)))
    return Look(
        opacity=float(opacity.mean()),
        alpha=float(batch.masks.mean()),
        planes_spread=float(np.sqrt(planes.var(axis=0).mean()) / max(planes.std(), 1e-12)),
        pixel=pixel,
        input_gain=gain,
        input_effect=effect,
    )
