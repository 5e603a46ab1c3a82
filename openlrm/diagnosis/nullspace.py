"""`diagnose.nullspace`: how many directions of the planes the decoder cares for."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from tqdm import tqdm

from openlrm.analysis.rank import (
    entropy_rank,
    participation_from_probes,
    participation_from_spread,
    participation_ratio,
    random_directions,
    spread,
    stable_rank,
)
from openlrm.analysis.transfer import mean_absolute, root_mean_square
from openlrm.diagnosis.config import NullspaceOptions
from openlrm.diagnosis.probe import Probe
from openlrm.diagnosis.study import Outcome, Study

_DIRECTIONS, _PROBES = 101, 102


class _Rendered(nn.Cell):
    """<D(T), y> of fixed cameras at fixed samples."""

    def __init__(self, probe: Probe):
        super().__init__(auto_prefix=False)
        count, size, samples = len(probe.cameras), probe.size, probe.synthesizer.samples
        rays = count * size**2
        self.synthesizer, self.size = probe.synthesizer, size
        self.cameras = Tensor(probe.cameras.render_record()[None])
        self.anchors = Tensor(np.zeros((1, count, 2), np.float32))
        self.resolutions = Tensor(np.full((1, count, 1), size, np.float32))
        self.backgrounds = Tensor(np.ones((1, count, 1), np.float32))
        self.noise = Tensor(np.full((rays, samples), 0.5, np.float32))
        u = np.broadcast_to((np.arange(samples) + 0.5) / samples, (rays, samples))
        self.u = Tensor(np.ascontiguousarray(u, np.float32))

    def construct(self, planes: Tensor, y: Tensor) -> Tensor:
        """planes (1, 3, C, H, W), y (V, 3, R, R) -> ()."""
        shown = self.synthesizer(
            planes, self.cameras, self.anchors, self.resolutions, self.backgrounds, self.size, self.noise, self.u
        )
        return (shown["images_rgb"][0] * y).sum()


class Linearised:
    """The decoder's Jacobian J at some planes, without a matrix.

    Args:
        probe: the views.
        planes: (3, C, H, W).
        step: length of a difference's step.
    """

    def __init__(self, probe: Probe, planes: np.ndarray, step: float):
        self.probe, self.planes, self.step = probe, planes.astype(np.float64), step
        self._cell = _Rendered(probe)
        self._gradient = ms.grad(self._cell, 0)
        self._given = Tensor(np.ascontiguousarray(planes[None], np.float32))

    def forward(self, z: np.ndarray) -> np.ndarray:
        """J z (V, 3, R, R) by a central difference of `step` along z (3, C, H, W)."""
        size = np.linalg.norm(z)
        move = z * (self.step / size)
        change = self.probe(self.planes + move).astype(np.float64) - self.probe(self.planes - move)
        return change * (size / (2 * self.step))

    def back(self, y: np.ndarray) -> np.ndarray:
        """J^T y (3, C, H, W)."""
        training = self.probe.synthesizer.training
        self._cell.set_train(True)
        try:
            found = self._gradient(self._given, Tensor(np.ascontiguousarray(y, np.float32)))
        finally:
            self._cell.set_train(training)
        return found.asnumpy()[0].astype(np.float64)


def nullspace(study: Study, options: NullspaceOptions) -> Outcome:
    """Answers to random unit directions; participation ratio by their spread, by probes and, of one small view, by SVD.

    Arrays: l1 and rms (directions,), singular_values of the small view.
    """
    shape = study.reference.shape
    directions = random_directions(study.random(_DIRECTIONS), options.null_directions, study.reference.size)
    changes = [
        study.probe(study.reference + options.null_epsilon * direction.reshape(shape)) - study.shown_reference
        for direction in tqdm(directions, desc="directions", unit="render")
    ]
    l1, rms = (np.array([measure(change) for change in changes]) for measure in (mean_absolute, root_mean_square))
    numbers = study.reference.size
    figures: dict[str, Any] = {
        "numbers": numbers,
        "l1": spread(l1)._asdict(),
        "rms": spread(rms)._asdict(),
        "floor": 0.0,
        "floor_parity": study.probe.floor(study.reference, study.seed),
        "participation": {"spread": participation_from_spread(spread(rms).relative)},
    }
    linear = Linearised(study.probe, study.reference, options.null_epsilon)
    figures["participation"]["hutchinson"] = _hutchinson(study, linear, options.probes)
    figures["participation"] |= {
        f"{name}_share": value / numbers for name, value in list(figures["participation"].items())
    }
    figures["small_view"], singular = _exact(study, options, directions)
    return Outcome(figures, {"l1": l1, "rms": rms, "singular_values": singular})


def _hutchinson(study: Study, linear: Linearised, probes: int) -> float:
    random, forward, back = study.random(_PROBES), [], []
    for _ in tqdm(range(probes), desc="probes", unit="probe"):
        y = linear.forward(random.standard_normal(study.reference.shape))
        forward.append((y**2).sum())
        back.append((linear.back(y) ** 2).sum())
    return participation_from_probes(forward, back)


def _exact(study: Study, options: NullspaceOptions, directions: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """One small view: the whole Jacobian, row by row, and the two estimates beside its singular values."""
    probe = Probe(study.synthesizer, study.probe.cameras[:1], options.exact_size)
    linear = Linearised(probe, study.reference, options.null_epsilon)
    outputs = 3 * options.exact_size**2
    rows = np.empty((outputs, study.reference.size), np.float32)
    for number in tqdm(range(outputs), desc="Jacobian", unit="row"):
        y = np.zeros(outputs, np.float32)
        y[number] = 1
        rows[number] = linear.back(y.reshape(1, 3, options.exact_size, options.exact_size)).reshape(-1)
    squares = np.linalg.eigvalsh(rows.astype(np.float64) @ rows.T.astype(np.float64))[::-1]
    singular = np.sqrt(np.clip(squares, 0, None))
    answers = [np.linalg.norm(linear.forward(d.reshape(study.reference.shape))) for d in directions]
    return {
        "size": options.exact_size,
        "participation": {
            "svd": participation_ratio(singular),
            "spread": participation_from_spread(spread(answers).relative),
            "hutchinson": _hutchinson(study, linear, options.probes),
        },
        "entropy_rank": entropy_rank(singular),
        "stable_rank": stable_rank(singular),
    }, singular
