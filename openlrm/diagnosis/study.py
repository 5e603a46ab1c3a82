"""What an experiment is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from openlrm.analysis.transfer import mean_absolute
from openlrm.diagnosis.objects import Subject, spread_views
from openlrm.diagnosis.probe import Probe
from openlrm.families.reconstructor import Reconstructor
from openlrm.representations.triplane import TriplaneSynthesizer


@dataclass(frozen=True)
class Outcome:
    """Result of an experiment.

    Attributes:
        figures: numbers by name, nested; where the study's definition differs it is beside ours as "parity".
        arrays: what the figures were made of, and maps and pictures.
    """

    figures: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One object, a model's planes for it, and the best planes there are.

    Attributes:
        subject: the object.
        reconstructor: the model.
        synthesizer: its decoder.
        prediction: T_pred (3, C, H, W).
        reference: T_ref, the same shape.
        size: side in pixels of the pictures compared.
        views: number of them.
        seed: of everything drawn.
    """

    subject: Subject
    reconstructor: Reconstructor
    synthesizer: TriplaneSynthesizer
    prediction: np.ndarray
    reference: np.ndarray
    size: int
    views: int
    seed: int

    @cached_property
    def indices(self) -> np.ndarray:
        """Views compared."""
        return spread_views(len(self.subject.views), self.views)

    @cached_property
    def probe(self) -> Probe:
        """The decoder, asked for those views."""
        return Probe(self.synthesizer, self.subject.views.cameras[self.indices], self.size)

    @property
    def residual(self) -> np.ndarray:
        """T_pred - T_ref, float64."""
        return self.prediction.astype(np.float64) - self.reference

    @cached_property
    def shown_reference(self) -> np.ndarray:
        """D(T_ref): (V, 3, R, R)."""
        return self.probe(self.reference)

    def error(self, planes: np.ndarray) -> tuple[float, np.ndarray]:
        """Render error E: mean over views of mean |D(T) - D(T_ref)|, and the pictures D(T)."""
        shown = self.probe(planes)
        return mean_absolute(shown - self.shown_reference), shown

    def random(self, purpose: int) -> np.random.Generator:
        """Draws of one purpose."""
        return np.random.default_rng([self.seed, purpose])
