"""Training losses: (prediction, target) -> scalar, but `LPIPS`, which gives one value a picture."""

from openlrm.losses.frequency import FrequencyLoss
from openlrm.losses.lpips import LPIPS
from openlrm.losses.mask import mask_loss
from openlrm.losses.pixel import pixel_loss
from openlrm.losses.tv import total_variation

__all__ = ["LPIPS", "FrequencyLoss", "mask_loss", "pixel_loss", "total_variation"]
