"""Image metrics, in numpy."""

from openlrm.metrics.psnr import psnr
from openlrm.metrics.ssim import ssim

__all__ = ["psnr", "ssim"]
