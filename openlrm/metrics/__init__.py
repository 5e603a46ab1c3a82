"""Metrics of images and meshes, in numpy; `PerceptualMetric` alone runs MindSpore, once it is made."""

from openlrm.metrics.lpips import PerceptualMetric
from openlrm.metrics.mask_iou import mask_iou
from openlrm.metrics.mesh import MeshScores, compare_meshes, fit_to_cube, sample_surface
from openlrm.metrics.psnr import psnr
from openlrm.metrics.ssim import ssim

__all__ = [
    "MeshScores",
    "PerceptualMetric",
    "compare_meshes",
    "fit_to_cube",
    "mask_iou",
    "psnr",
    "sample_surface",
    "ssim",
]
