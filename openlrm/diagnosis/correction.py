"""`diagnose.correction` and `diagnose.decomposition`: what is repaired when part of the residual is taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from openlrm.analysis.bands import low_mask
from openlrm.analysis.spectrum import energy
from openlrm.analysis.splits import decompose, heat_map, split
from openlrm.analysis.transfer import amplification, gain_rms, improvement
from openlrm.diagnosis.config import CorrectionOptions, DecompositionOptions
from openlrm.diagnosis.study import Outcome, Study


def correction(study: Study, options: CorrectionOptions) -> Outcome:
    """Render errors with low or high frequencies of the residual corrected, at one cutoff and over a sweep.

    Raises:
        UserError: a cutoff that does not cut.
    """
    for cutoff in (options.cutoff, *options.cutoffs):
        split(study.residual[:1, :1], cutoff)
    before, shown = study.error(study.prediction)
    figures: dict[str, Any] = {"error": before, "error_reference": study.error(study.reference)[0]}
    pictures = {"prediction": shown, "reference": study.shown_reference}
    main, by_view = _at(study, options.cutoff, before, pictures)
    figures["cutoff"], figures["consistent"] = options.cutoff, main
    figures["sweep"] = [_at(study, cutoff, before)[0] for cutoff in options.cutoffs]
    source = study.indices == study.subject.source_view
    figures["by_view"] = by_view
    figures["source_view"] = {name: values[source].mean() for name, values in by_view.items() if source.any()}
    figures["other_views"] = {name: values[~source].mean() for name, values in by_view.items() if (~source).any()}
    low, high = split(study.residual, options.cutoff)
    arrays = {"heat_low": heat_map(low), "heat_high": heat_map(high)}
    arrays |= {f"shown_{name}": picture[:4] for name, picture in pictures.items()}
    return Outcome(figures, arrays)


def decomposition(study: Study, options: DecompositionOptions) -> Outcome:
    """Render errors with DC, structure, detail or all of the residual corrected."""
    parts = decompose(study.residual, options.cutoff)
    before, _ = study.error(study.prediction)
    removed = {
        "dc": parts.dc,
        "structured": parts.structured,
        "low": parts.dc + parts.structured,
        "high": parts.high,
    }
    errors = {name: study.error(study.prediction - part)[0] for name, part in removed.items()}
    # The reference itself: T_pred - (T_pred - T_ref) would differ by rounding.
    errors["all"] = study.error(study.reference)[0]
    total = (study.residual**2).sum()
    figures = {
        "cutoff": options.cutoff,
        "error": before,
        "corrected": errors,
        "improvement": {name: improvement(error, before) for name, error in errors.items()},
        "power_share": {
            name: float((np.broadcast_to(part, study.residual.shape) ** 2).sum() / total)
            for name, part in removed.items()
        },
    }
    return Outcome(figures, {"heat_structured": heat_map(parts.structured), "dc": parts.dc[..., 0, 0]})


def _at(
    study: Study, cutoff: float, before: float, pictures: dict[str, np.ndarray] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Figures of one cutoff, and improvement of every view; its pictures go into `pictures`."""
    low, high = split(study.residual, cutoff)
    power = energy(study.residual)
    share = float(power[:, low_mask(*power.shape[-2:], cutoff)].sum() / power.sum())
    errors, by_view = {}, {}
    reference = study.shown_reference
    start = np.abs(study.probe(study.prediction) - reference).mean((1, 2, 3), dtype=np.float64)
    for name, part in (("low", low), ("high", high)):
        errors[name], shown = study.error(study.prediction - part)
        by_view[name] = 1 - np.abs(shown - reference).mean((1, 2, 3), dtype=np.float64) / start
        if pictures is not None:
            pictures[f"without_{name}"] = shown
    gained = {name: improvement(error, before) for name, error in errors.items()}
    gains = {
        name: gain_rms(study.probe(study.reference + part) - reference, part)
        for name, part in (("low", low), ("high", high))
    }
    return {
        "cutoff": cutoff,
        "error_low": errors["low"],
        "error_high": errors["high"],
        "improvement_low": gained["low"],
        "improvement_high": gained["high"],
        "power_share_low": share,
        "power_share_high": 1 - share,
        "amplification": amplification(gained["low"], share, gained["high"], 1 - share),
        "gain_low": gains["low"],
        "gain_high": gains["high"],
        "gain_ratio": gains["low"] / gains["high"],
    }, by_view
