"""Overlap of silhouettes."""

from __future__ import annotations

import numpy as np


def mask_iou(a: np.ndarray, b: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of two masks.

    Args:
        a: any shape, opacity in [0, 1] or boolean; a pixel belongs to the object above `threshold`.
        b: the same shape.
        threshold: see above.

    Returns:
        1 for equal silhouettes, also for two empty ones; 0 for disjoint ones.

    Raises:
        ValueError: shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"mask_iou needs two masks of one shape, not {a.shape} and {b.shape}")
    a, b = a > threshold, b > threshold
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
