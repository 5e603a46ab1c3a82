"""`diagnose.residual`: where on the planes and where on the surface the prediction is off."""

from __future__ import annotations

import numpy as np

from openlrm.analysis.splits import heat_map
from openlrm.analysis.visibility import group_figures, shell
from openlrm.diagnosis.config import SurfaceOptions
from openlrm.diagnosis.study import Outcome, Study
from openlrm.geometry import grid_points

_BINS = 40


def surface_errors(study: Study, options: SurfaceOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Points inside the reference, whether they lie on its shell, their colour error, and the threshold used.

    Returns:
        (P, 3), (P,) boolean, (P,) ||rgb_pred - rgb_ref||, and the density.
    """
    side = options.grid_size
    grid = grid_points((side - 1,) * 3, scale=2.0).reshape(-1, 3).astype(np.float32)
    reference, prediction = study.probe.scene(study.reference), study.probe.scene(study.prediction)
    density, _ = reference.field(grid)
    threshold = options.sigma_threshold
    if not (density > threshold).any():
        threshold = float(np.percentile(density, 90))
    occupied = (density > threshold).reshape(side, side, side)
    inside = occupied.reshape(-1)
    points = grid[inside]
    error = np.linalg.norm(prediction.field(points)[1].astype(np.float64) - reference.field(points)[1], axis=-1)
    return points, shell(occupied).reshape(-1)[inside], error, threshold


def residual(study: Study, options: SurfaceOptions) -> Outcome:
    """Maps of |T_pred - T_ref|, and colour errors on the shell of the reference (all points inside: the study's)."""
    points, on_shell, error, threshold = surface_errors(study, options)
    heat = heat_map(study.residual)
    figures = {
        "threshold": threshold,
        "consistent": _figures(error[on_shell]),
        "parity": _figures(error),
        "heat": {"mean": heat.mean((1, 2)), "max": heat.max((1, 2))},
    }
    counts, edges = np.histogram(error[on_shell], _BINS)
    arrays = {"heat": heat, "points": points[on_shell], "error": error[on_shell], "histogram": counts, "edges": edges}
    return Outcome(figures, arrays)


def _figures(errors: np.ndarray) -> dict[str, float]:
    found = group_figures(errors, "surface")
    return found | {"p99": float(np.percentile(errors, 99))}
