"""Which way figures get better, against the metrics themselves."""

import math

import numpy as np
import pytest

from openlrm.metrics import compare_meshes, mask_iou, psnr, ssim
from openlrm.reports.metrics import IMAGE_METRICS, metrics_among


def table(*keys):
    return {metric.key: metric for metric in metrics_among(keys)}


@pytest.mark.parametrize(("key", "measure"), [("psnr", psnr), ("psnr_object", psnr), ("ssim", ssim)])
def test_a_nearer_picture_is_better(key, measure):
    rng = np.random.default_rng(0)
    truth = rng.random((3, 16, 16))
    near, far = (measure(np.clip(truth + size * rng.normal(size=truth.shape), 0, 1), truth) for size in (0.01, 0.3))
    assert table(key)[key].better(near, far)
    assert not table(key)[key].better(far, near)


def test_a_nearer_mask_or_mesh_is_better():
    square = np.zeros((8, 8), bool)
    square[2:6, 2:6] = True
    near, far = (mask_iou(np.roll(square, shift, 0), square) for shift in (1, 3))
    assert table("mask_iou")["mask_iou"].better(near, far)
    triangle = np.eye(3), np.array([[0, 1, 2]])
    near, far = (compare_meshes((triangle[0] + shift, triangle[1]), triangle, [0.2]) for shift in (0.05, 0.5))
    for key in ("chamfer", "accuracy", "completeness"):
        assert table(key)[key].better(getattr(near, key), getattr(far, key))
    assert table("f_score_0.2")["f_score_0.2"].better(near.f_scores[0.2], far.f_scores[0.2])


def test_best_is_the_first_of_the_best_and_never_nan():
    less, more = table("lpips")["lpips"], table("ssim")["ssim"]
    values = [math.nan, 0.3, 0.1, 0.1, 0.4, 0.4, math.nan]
    assert (less.best(values), more.best(values)) == (2, 4)
    assert less.best([math.nan]) == 0


def test_keys_of_a_file_in_the_order_of_the_table():
    keys = ["f_score_0.1", "chamfer", "view", "lpips", "psnr", "seconds_planes"]
    assert [metric.key for metric in metrics_among(keys)] == ["psnr", "lpips", "chamfer", "f_score_0.1"]
    assert next(metric.tell(1.5) for metric in metrics_among(keys)) == "PSNR 1.50 dB"
    assert len({metric.key for metric in IMAGE_METRICS}) == len(IMAGE_METRICS)
