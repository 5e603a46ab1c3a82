"""`diagnose.transfer`: which frequencies of the planes the decoder shows, and what scaling alone would repair."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from tqdm import tqdm

from openlrm.analysis.bands import equal_bands
from openlrm.analysis.basins import channel_correlation
from openlrm.analysis.calibration import KINDS, calibrate
from openlrm.analysis.noise import band_noise, draw_spectrum
from openlrm.analysis.spectrum import band_power
from openlrm.analysis.transfer import (
    effective_impact,
    gain_l1,
    gain_parity,
    gain_rms,
    improvement,
    low_pass_figures,
    root_mean_square,
)
from openlrm.diagnosis.config import TransferOptions
from openlrm.diagnosis.study import Outcome, Study

PARITY_AMPLITUDE = 0.5
_NOISE = 1


def transfer(study: Study, options: TransferOptions) -> Outcome:
    """H of every band at T_ref: seeds, amplitudes; and at T_pred with the last amplitude; impact; calibration.

    Arrays: h1, h2 (amplitudes, seeds, bands), h2_at_prediction (seeds, bands), h_parity (bands,), edges (bands + 1,).

    Raises:
        UserError: a band that holds nothing, or in parity only the mean.
    """
    edges = equal_bands(options.num_bands)
    bands = list(pairwise(edges))
    draws = [draw_spectrum(study.random(_NOISE + seed), study.reference.shape) for seed in range(options.noise_seeds)]
    shape = (len(options.amplitudes), len(draws), len(bands))
    h1, h2 = np.empty(shape), np.empty(shape)
    at_prediction, parity = np.empty(shape[1:]), np.empty(len(bands))
    first = study.probe(study.prediction)
    # Refused before the work.
    studied = [band_noise(draws[0], *band, PARITY_AMPLITUDE, "parity") for band in bands]
    with tqdm(total=h1.size + at_prediction.size + len(bands), desc="transfer", unit="render") as bar:
        for number, band in enumerate(bands):
            for seed, draw in enumerate(draws):
                for strength, amplitude in enumerate(options.amplitudes):
                    noise = band_noise(draw, *band, amplitude)
                    change = study.probe(study.reference + noise) - study.shown_reference
                    h1[strength, seed, number] = gain_l1(change, noise)
                    h2[strength, seed, number] = gain_rms(change, noise)
                    bar.update()
                at_prediction[seed, number] = gain_rms(study.probe(study.prediction + noise) - first, noise)
                bar.update()
            change = study.probe(study.reference + studied[number]) - study.shown_reference
            parity[number] = gain_parity(change, PARITY_AMPLITUDE)
            bar.update()
    figures = {
        "amplitudes": options.amplitudes,
        "consistent": {
            "h2": h2.mean(1),
            "h2_std": h2.std(1, ddof=1) if len(draws) > 1 else None,
            "h1": h1.mean(1),
            "first_over_last_by_seed": h2[-1, :, 0] / h2[-1, :, -1],
            **low_pass_figures(h2[-1].mean(0)),
            "at_prediction": low_pass_figures(at_prediction.mean(0)),
            "impact": effective_impact(band_power(study.residual, edges), h2[-1].mean(0)),
        },
        "parity": {"h": parity, **low_pass_figures(parity)},
        "floor_parity": study.probe.floor(study.reference, study.seed),
        "calibration": _calibration(study),
    }
    arrays = {"edges": edges, "h1": h1, "h2": h2, "h2_at_prediction": at_prediction, "h_parity": parity}
    return Outcome(figures, arrays)


def _calibration(study: Study) -> dict[str, object]:
    """What is left when the prediction is scaled onto the reference."""
    before, _ = study.error(study.prediction)
    found: dict[str, object] = {"error": before, "plane_rms": root_mean_square(study.residual)}
    for kind in KINDS:
        planes = calibrate(study.prediction, study.reference, kind).planes
        error, _ = study.error(planes)
        found[kind] = {
            "error": error,
            "improvement": improvement(error, before),
            "plane_rms": root_mean_square(planes - study.reference),
            "channel_correlation": float(channel_correlation(planes, study.reference.astype(np.float64)).mean()),
        }
    return found
