"""`diagnose.spectrum`: which frequencies the residual has."""

from __future__ import annotations

import numpy as np

from openlrm.analysis.bands import LOW, MIDDLE
from openlrm.analysis.spectrum import band_density, band_shares, bin_shares, dc_share, radial_curve
from openlrm.diagnosis.study import Outcome, Study

PARITY_EDGES = (0.0, LOW, MIDDLE, 1.0)


def spectrum(study: Study) -> Outcome:
    """Shares of low, middle, high and corners; densities, for which white noise is 1; curves over the radius."""
    residual = study.residual
    figures = {
        "bin_share": bin_shares(*residual.shape[-2:]),
        "consistent": {
            "share": band_shares(residual, pooled=True),
            "share_by_plane": band_shares(residual),
            "share_magnitude": band_shares(residual, quantity="magnitude", pooled=True),
            "density": band_density(residual, pooled=True),
            "dc_share": dc_share(residual, pooled=True),
        },
        "parity": {
            "share": band_shares(residual, PARITY_EDGES, pooled=True, definitions="parity"),
            "share_by_plane": band_shares(residual, PARITY_EDGES, definitions="parity"),
        },
    }
    arrays = {}
    for name, planes in (("residual", residual), ("prediction", study.prediction), ("reference", study.reference)):
        arrays[f"radial_{name}"] = radial_curve(planes)
        arrays[f"radial_parity_{name}"] = radial_curve(planes, "parity")
    arrays["radial_ratio"] = np.divide(
        arrays["radial_prediction"],
        arrays["radial_reference"],
        out=np.zeros_like(arrays["radial_reference"]),
        where=arrays["radial_reference"] > 0,
    )
    return Outcome(figures, arrays)
