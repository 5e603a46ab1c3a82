"""Squared difference of pictures with low frequencies counted more."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.analysis.bands import band_mask, check_cutoff, frequencies
from openlrm.errors import UserError
from openlrm.ops import hartley

CUTOFF_UNITS = ("nyquist", "cycles_per_pixel")
WEIGHTS_ON = ("amplitude", "power")


class FrequencyLoss(nn.Cell):
    """L = mean |IFFT2(w FFT2(e))|^2 of e = prediction - target, w = `weight` below the cutoff and 1 above.

    With w = 1 it is the mean squared difference. By Parseval it is the mean of (w E)^2, E an orthogonal transform of e,
    and its gradient 2 / numbers * IFFT2(w^2 FFT2(e)): low frequencies are counted w^2 times. It needs whole pictures:
    the spectrum of a crop is another one (`check_whole_pictures`).

    Args:
        weight: of the frequencies below the cutoff.
        cutoff: where they end.
        unit: "nyquist", 1 is half a cycle per pixel, or "cycles_per_pixel", in which Nyquist's frequency is 0.5.
        weight_on: "amplitude", or "power", which puts the root of the weight in the place of w.
        normalise: divide by the mean of w^2, so that white differences cost what they do in a plain mean.

    Raises:
        UserError: an option that makes no sense.
    """

    def __init__(
        self,
        weight: float = 5.0,
        cutoff: float = 0.3,
        unit: str = "nyquist",
        weight_on: str = "amplitude",
        normalise: bool = False,
    ):
        super().__init__()
        if unit not in CUTOFF_UNITS:
            raise UserError(f"cutoff_unit={unit}", hint=f"use one of {', '.join(CUTOFF_UNITS)}")
        if weight_on not in WEIGHTS_ON:
            raise UserError(f"weight_on={weight_on}", hint=f"use one of {', '.join(WEIGHTS_ON)}")
        if not 0 <= weight < float("inf"):
            raise UserError(f"freq_weight={weight}", hint="use 0 or more; 1 is the mean squared difference")
        self.options = (weight, cutoff, unit, weight_on, normalise)

    def construct(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of whole pictures.

        Args:
            prediction: (..., H, W), colours in [0, 1].
            target: the same shape.

        Returns:
            Scalar.

        Raises:
            UserError: the cutoff does not cut the frequencies of pictures of this size.
        """
        weighted = hartley(prediction - target) * self._weights(prediction)
        return (weighted * weighted).mean()

    def value_and_gradient(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and its gradient with respect to the prediction, in closed form.

        For pictures that were rendered without a gradient: what has to be sent back, region by region, to whatever made
        each of them (deferred back-propagation).

        Args:
            prediction: (..., H, W) whole pictures.
            target: the same shape.

        Returns:
            Scalar, and (..., H, W).
        """
        weighted = hartley(prediction - target) * self._weights(prediction)
        return (weighted * weighted).mean(), hartley(weighted * self._weights(prediction)) * (2 / weighted.size)

    def _weights(self, pictures: Tensor) -> Tensor:
        return _constant_weights(pictures.shape[-2], pictures.shape[-1], *self.options)


def frequency_weights(
    height: int,
    width: int,
    weight: float = 5.0,
    cutoff: float = 0.3,
    unit: str = "nyquist",
    weight_on: str = "amplitude",
    normalise: bool = False,
) -> np.ndarray:
    """Factor of every frequency's amplitude; options as `FrequencyLoss`.

    Returns:
        (H, W) float64, FFT order.

    Raises:
        UserError: a cutoff that does not cut.
    """
    frequency = frequencies(height, width) / (2 if unit == "cycles_per_pixel" else 1)
    check_cutoff(cutoff, frequency)
    low = weight**0.5 if weight_on == "power" else weight
    weights = np.where(band_mask(frequency, 0, cutoff), low, 1.0)
    return weights / np.sqrt((weights**2).mean()) if normalise else weights


def check_whole_pictures(region: int, largest: int) -> None:
    """Refuse random crops: only whole pictures have the frequencies that the loss weighs.

    Args:
        region: side in pixels of what is rendered of each picture.
        largest: greatest side in pixels of a whole picture.

    Raises:
        UserError: a picture may be larger than the region.
    """
    if region < largest:
        raise UserError(
            f"the frequency loss needs whole pictures: regions of {region} pixels are cut out of pictures of up to "
            f"{largest}, and the spectrum of a crop is another one",
            hint="render whole pictures (a region of their size; deferred_region keeps the memory small) or set "
            "frequency_weight=0",
        )


@ops.constexpr
def _constant_weights(height: int, width: int, *options) -> Tensor:
    return Tensor(frequency_weights(height, width, *options), ms.float32)
