"""Training losses: pure functions (prediction, target) -> scalar."""

from openlrm.losses.pixel import pixel_loss
from openlrm.losses.tv import total_variation

__all__ = ["pixel_loss", "total_variation"]
