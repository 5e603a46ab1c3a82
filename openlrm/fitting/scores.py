"""How good a fit is, by the views that were kept back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.datasets import PosedViews
from openlrm.metrics import psnr, ssim
from openlrm.representations.base import Representation
from openlrm.utils.images import save_image
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path

logger = get_logger(__name__)


def measure_fit(scene: Representation, views: PosedViews, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """PSNR and SSIM of the kept views, on white; writes metrics.json and comparison.png.

    Args:
        scene: what was fitted.
        views: kept back.
        facts: what else metrics.json holds.
        folder: of the files.

    Returns:
        `facts` with views_kept, psnr (mean over views), psnr_worst_view, psnr_object_pixels (of all views together) and
        ssim.
    """
    truth, alpha = views.on(1.0)
    shown = np.stack([view.rgb for view in scene.views(views.cameras, truth.shape[2])]).transpose(0, 3, 1, 2)
    per_view = [float(psnr(a, b)) for a, b in zip(shown, truth, strict=True)]
    result = facts | {
        "views_kept": len(truth),
        "psnr": float(np.mean(per_view)),
        "psnr_worst_view": min(per_view),
        "psnr_object_pixels": psnr(shown, truth, alpha[:, None] > 0.5),
        "ssim": float(np.mean([ssim(a, b) for a, b in zip(shown, truth, strict=True)])),
    }
    with atomic_path(folder / "metrics.json") as temporary:
        Path(temporary).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sheet = np.concatenate([np.concatenate([a, b], axis=1) for a, b in zip(truth, shown, strict=True)], axis=2)
    save_image(folder / "comparison.png", sheet.transpose(1, 2, 0))
    logger.info(
        "%d kept views: PSNR %.2f dB (object's pixels %.2f), SSIM %.3f; wrote %s and comparison.png",
        len(truth),
        result["psnr"],
        result["psnr_object_pixels"],
        result["ssim"],
        folder / "metrics.json",
    )
    return result
