"""`diagnose.oracle`: planes fitted to all views with the decoder frozen, from the prediction and from noise."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from mindspore import Tensor

from openlrm.analysis.bands import SPECTRUM_EDGES
from openlrm.analysis.basins import compare_planes
from openlrm.analysis.spectrum import coherence
from openlrm.config import save_config
from openlrm.datasets import PosedViews
from openlrm.diagnosis.config import OracleOptions
from openlrm.diagnosis.objects import Subject, kept_views
from openlrm.diagnosis.probe import Probe
from openlrm.diagnosis.study import Outcome
from openlrm.fitting.triplane import random_planes
from openlrm.fitting.whole_views import FreePlanes, WholeViewsTask
from openlrm.metrics import psnr
from openlrm.representations.triplane import Triplane, TriplaneSynthesizer
from openlrm.training.checkpoints import RESUME
from openlrm.training.trainer import Trainer
from openlrm.training.update import Update
from openlrm.utils.paths import ensure_dir
from openlrm.utils.run_files import CONFIG

_RANDOM_SCALE = 0.1


class Interrupted(KeyboardInterrupt):
    """A signal ended a fit; its state is saved."""


def sized(views: PosedViews, size: int) -> PosedViews:
    """Views at another size, premultiplied and resized as targets are: (V, R, R, 4) on white."""
    rgb, alpha = views.on(1.0, size)
    rgba = np.concatenate([rgb.transpose(0, 2, 3, 1), alpha[..., None]], axis=-1)
    # They lie on white already: opaque, or they would be blended again.
    rgba[..., 3] = 1
    return PosedViews(np.ascontiguousarray(rgba), views.cameras, views.turn)


def fit(task: WholeViewsTask, steps: int, folder: Path) -> np.ndarray:
    """Run a fit to its end, from where an earlier start stopped; the folder is removed then.

    Returns:
        Planes (3, C, H, W).

    Raises:
        Interrupted: by a signal.
    """
    run = task.run_config(steps)
    save_config(run, ensure_dir(folder) / CONFIG)
    trainer = Trainer(task, Update(task, run.train, steps), folder, run)
    if (folder / "ckpt" / RESUME).is_file():
        trainer.resume()
    trainer.run()
    if trainer.stop.signal is not None:
        raise Interrupted
    planes = task.representation().planes.asnumpy()[0].copy()
    shutil.rmtree(folder, ignore_errors=True)
    return planes


def oracle(
    subject: Subject, predicted: Triplane, options: OracleOptions, size: int, seed: int, folder: Path
) -> tuple[Outcome, dict[str, np.ndarray]]:
    """Fit reference planes and say how far they can be trusted.

    Args:
        subject: the object.
        predicted: the model's answer.
        options: of the fits.
        size: side in pixels of the views fitted to.
        seed: of the random start and of the views drawn.
        folder: for states of fits that are interrupted.

    Returns:
        Figures, and planes by the name of their start: "pred" and, fitted, "predinit", "predinit2", .. and "rand".

    Raises:
        Interrupted: by a signal; the next start goes on.
        UserError: more views kept than there are.
    """
    fitted, kept = kept_views(len(subject.views), options.kept_views)
    small = sized(subject.views, size)
    synthesizer = predicted.synthesizer
    prediction = predicted.planes.asnumpy()[0].copy()
    planes = {"pred": prediction}
    noise = random_planes(*prediction.shape[1:3], scale=_RANDOM_SCALE, seed=seed).asnumpy()[0]

    def run(name: str, start: np.ndarray, seed: int) -> None:
        field = FreePlanes(Tensor(start[None].copy()), synthesizer)
        task = WholeViewsTask(field, small.take(fitted), options.views_per_step, options.lr, seed, subject.uid)
        planes[name] = fit(task, options.num_iters, folder / f"{subject.uid}_{name}")

    if options.init != "rand":
        for repeat in range(options.repeats):
            run("predinit" if repeat == 0 else f"predinit{repeat + 1}", prediction, seed + repeat)
    if options.init != "pred":
        run("rand", noise, seed)
    figures = {
        "distance": subject.distance,
        "views_fitted": len(fitted),
        "views_kept": len(kept),
        "psnr": {
            name: _psnr(synthesizer, small, {"fitted": fitted, "kept": kept}, size, values)
            for name, values in planes.items()
        },
        "residual": {name: _sizes(prediction - values) for name, values in planes.items() if name != "pred"},
    }
    figures["basins"] = _basins(planes)
    if "predinit" in planes:
        gain = figures["psnr"]["predinit"]["fitted"] - figures["psnr"]["pred"]["fitted"]
        figures["psnr_gain"] = gain
        figures["accepted"] = gain > 3 and (
            "rand" not in planes
            or figures["basins"]["pred,predinit"]["correlation"] > figures["basins"]["pred,rand"]["correlation"]
        )
    arrays = {}
    if "predinit2" in planes:
        of_bands = coherence(prediction - planes["predinit"], prediction - planes["predinit2"])
        figures["coherence"] = {"edges": list(SPECTRUM_EDGES[1:-1]), "bands": of_bands}
    for name in ("pred", "predinit", "rand"):
        if name in planes:
            probe = Probe(synthesizer, small.cameras[:4], size)
            arrays[f"shown_{name}"] = probe(planes[name])
    arrays["truth"] = small.on(1.0)[0][:4]
    return Outcome(figures, arrays), planes


def _psnr(
    synthesizer: TriplaneSynthesizer, views: PosedViews, groups: dict[str, np.ndarray], size: int, planes: np.ndarray
) -> dict[str, float]:
    truth, _ = views.on(1.0)
    shown = np.clip(Probe(synthesizer, views.cameras, size)(planes), 0, 1)
    each = np.array([psnr(a, b) for a, b in zip(shown, truth, strict=True)])
    return {name: float(each[indices].mean()) for name, indices in groups.items() if len(indices)}


def _sizes(residual: np.ndarray) -> dict[str, object]:
    size = np.abs(residual)
    return {
        "mean": size.mean(),
        "max": size.max(),
        "plane_mean": size.mean((1, 2, 3)),
        "plane_max": size.max((1, 2, 3)),
    }


def _basins(planes: dict[str, np.ndarray]) -> dict[str, object]:
    pairs = [("pred", "rand"), ("pred", "predinit"), ("rand", "predinit")]
    found = {f"{a},{b}": compare_planes(planes[a], planes[b]) for a, b in pairs if a in planes and b in planes}
    return {
        name: {key: value for key, value in basin._asdict().items() if key != "channel_correlation"}
        for name, basin in found.items()
    }
