"""Metrics of images and meshes, in numpy; `PerceptualMetric` alone runs MindSpore, once it is made."""

from openlrm.metrics.lpips import PerceptualMetric
from openlrm.metrics.mask_iou import mask_iou
from openlrm.metrics.mesh import MeshScores, compare_meshes, fit_to_cube, sample_surface
from openlrm.metrics.psnr import psnr
from openlrm.metrics.ssim import ssim
from openlrm.metrics.table import CHAMFER, IMAGE_METRICS, LOSS, PSNR, Metric, metrics_among

__all__ = [
    "CHAMFER",
    "IMAGE_METRICS",
    "LOSS",
    "PSNR",
    "MeshScores",
    "Metric",
    "PerceptualMetric",
    "compare_meshes",
    "fit_to_cube",
    "mask_iou",
    "metrics_among",
    "psnr",
    "sample_surface",
    "ssim",
]
